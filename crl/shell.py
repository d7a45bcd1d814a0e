"""Command lines as the user's shell takes them."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence


def typed(words: Sequence[str]) -> str:
    """The words as they are typed."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
