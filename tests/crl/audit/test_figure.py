"""The figure can be drawn where nothing is defined; axes are logarithmic and warnings are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crl.audit.agreement import summaries
from crl.audit.figure import draw


def test_an_audit_without_signal(silent_audit: Any, tmp_path: Path) -> None:
    found, audits = silent_audit
    draw(tmp_path / "audit.png", "a [title] of $\\no{formula$", found, audits, summaries(audits))
    image = (tmp_path / "audit.png").read_bytes()
    assert image.startswith(b"\x89PNG")
    assert len(image) < 300_000
