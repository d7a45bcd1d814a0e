"""Printing from a run, which must not die because its reader has gone."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

GIGA = 1e9  # bytes, in which memory is shown
WIDTH = 100  # of tables, where the output is no terminal
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_quiet: ContextVar[bool] = ContextVar("quiet", default=False)
_warned: ContextVar[set[str] | None] = ContextVar("warned", default=None)


@contextmanager
def quiet(wanted: bool = True) -> Iterator[None]:
    """While this lasts nothing but warnings is printed, if that is wanted."""
    token = _quiet.set(wanted)
    try:
        yield
    finally:
        _quiet.reset(token)


@contextmanager
def each_warning_once() -> Iterator[None]:
    """While this lasts a warning that has been printed is not printed again."""
    token = _warned.set(set())
    try:
        yield
    finally:
        _warned.reset(token)


def is_quiet() -> bool:
    """Whether nothing but warnings is printed."""
    return _quiet.get()


@contextmanager
def tolerant() -> Iterator[None]:
    """Around printing: where the output is a closed pipe or a full disk, the rest of the process prints to nowhere."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except SystemExit:  # rich's word for a closed pipe
        _print_to_nowhere()
    except OSError as error:
        _print_to_nowhere()
        if error.errno in FULL:
            warn(f"standard output cannot be written ({error.strerror}); what is printed from here on is lost")


def is_lost() -> bool:
    """Whether standard output takes nothing more, for who has met an error that may be another file's.

    If so, the rest of the process prints to nowhere.
    """
    try:
        print(flush=True)
    except OSError:
        _print_to_nowhere()
        return True
    return False


def _print_to_nowhere() -> None:
    # The descriptor itself, because Python flushes what is left in the buffer once more when it ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def say(text: str) -> None:
    """Print a line."""
    if not is_quiet():
        with tolerant():
            print(text)


def warn(sentence: str) -> None:
    """Print a warning on stderr."""
    warned = _warned.get()
    if warned is not None:
        if sentence in warned:
            return
        warned.add(sentence)
    complain(f"warning: {sentence}")


def complain(sentence: str) -> None:
    """Print what is wrong on stderr, if there is one."""
    if sys.stderr is not None:
        with suppress(OSError):  # whoever read may have gone
            print(f"crl: {sentence}", file=sys.stderr)


@contextmanager
def concise_warnings() -> Iterator[None]:
    """Warnings of Python's, whoever gives them, come on one line each as `warn` prints them."""
    with warnings.catch_warnings():
        warnings.showwarning = _show
        yield


def _show(message: Warning | str, *_: Any, **__: Any) -> None:
    from crl.config.messages import one_line  # with all of the config, which help does without

    warn(one_line(message))


def is_terminal() -> bool:
    """Whether somebody watches: there is an output, and it is a terminal."""
    return not is_quiet() and sys.stdout is not None and sys.stdout.isatty()


def console() -> Console:
    """Where tables go: as wide as the terminal."""
    from rich.console import Console

    out = Console()
    return out if out.is_terminal else Console(width=WIDTH)
