"""Modules that several threads run: an agent may be asked for actions, and saved, while it learns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn


class ReadWriteLock:
    """Many threads may read at a time, and one writes when none does; those that want to read go first.

    Copied and pickled it is a new one.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._reading = self._wanting = 0
        self._writer: int | None = None

    def __reduce__(self) -> tuple[type[ReadWriteLock], tuple[()]]:
        return ReadWriteLock, ()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What is written by other threads stays as it is meanwhile."""
        if self._writer == threading.get_ident():
            yield
            return
        with self._changed:
            self._wanting += 1
            try:
                self._changed.wait_for(lambda: self._writer is None)
            finally:  # Ctrl-C may come meanwhile
                self._wanting -= 1
                self._changed.notify_all()
            self._reading += 1
        try:
            yield
        finally:
            with self._changed:
                self._reading -= 1
                self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Nobody else reads or writes meanwhile. The thread may enter it again."""
        own = threading.get_ident()
        if self._writer == own:
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: self._writer is None and not self._reading and not self._wanting)
            self._writer = own
        try:
            yield
        finally:
            with self._changed:
                self._writer = None
                self._changed.notify_all()


_value_locks: WeakKeyDictionary[nn.Module, ReadWriteLock] = WeakKeyDictionary()
_new_lock = threading.Lock()


def value_lock(root: nn.Module) -> ReadWriteLock:
    """Held for writing while modules have other values in the place of their own: copies on trial, or a fresh network.

    Args:
        root: the module that they are all part of.
    """
    found = _value_locks.get(root)
    if found is None:
        with _new_lock:
            found = _value_locks.setdefault(root, ReadWriteLock())
    return found


def in_this_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
    """The hook of a module, which leaves the forwards alone that other threads than this one make."""
    own = threading.get_ident()

    @wraps(hook)
    def called(*args: Any, **kwargs: Any) -> Any:
        return hook(*args, **kwargs) if threading.get_ident() == own else None

    return called
