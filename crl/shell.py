"""Command lines as the user's shell takes them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

PLAIN = re.compile(r"[\w.:/\\=+-]+")  # what neither of Windows' shells, cmd and PowerShell, takes for something else


def typed(words: Sequence[str]) -> str:
    """The words as they are typed."""
    return " ".join(map(_of_windows, words)) if os.name == "nt" else shlex.join(words)


def _of_windows(word: str) -> str:
    """A word for cmd and PowerShell; programs take backslashes for what they are, but before quotes."""
    if PLAIN.fullmatch(word):
        return word
    inner = re.sub(r'(\\*)"', r'\1\1\\"', word)
    return '"' + re.sub(r"(\\+)$", r"\1\1", inner) + '"'
