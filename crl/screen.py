"""Printing from a run, which must not die because its reader has gone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def tolerant() -> Iterator[None]:
    """Around printing: where the output is a closed pipe or a full disk, the rest of the process prints to nowhere."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        # The descriptor itself, because Python flushes what is left in the buffer once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def say(text: str) -> None:
    """Print a line."""
    with tolerant():
        print(text)


def is_terminal() -> bool:
    """Whether somebody watches: there is an output, and it is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()
