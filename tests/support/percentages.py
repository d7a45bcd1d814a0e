"""A selection that several tests of resets give."""

from __future__ import annotations

from typing import Any


def percentage(share: float = 0.1) -> dict[str, Any]:
    """Of each layer the same share."""
    return {"name": "percentage", "share": share}
