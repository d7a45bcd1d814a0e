"""Cells of CSV files that hold names, which may be anybody's."""

from __future__ import annotations

import re
from typing import Any

FORMULA = re.compile(r"[=@\t\r]|[+-](?! \||$)")  # as spreadsheets take it; "- | 1" and "-" are ours


def inert(cell: Any) -> Any:
    """A cell that a spreadsheet takes for what it is: text that would be a formula gets an apostrophe before it."""
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) and not _is_number(cell) else cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
