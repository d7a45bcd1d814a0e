"""Modules that several threads run: an agent may be asked for actions, and saved, while it learns."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn


class ReadWriteLock:
    """Many threads may read at a time, and one writes when none does. They take turns: nobody waits for ever.

    Those that wanted to read when a write ended go before the next one, and those that come later after it. Copied and
    pickled it is a new one.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers: Counter[int] = Counter()  # threads, each as often as it reads
        self._waiting: set[object] = set()  # to read
        self._due: set[object] = set()  # those of them that go before the next write
        self._queued: set[int] = set()  # threads that wait to write
        self._writer: int | None = None

    def __reduce__(self) -> tuple[type[ReadWriteLock], tuple[()]]:
        return ReadWriteLock, ()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What is written by other threads stays as it is meanwhile. The thread may enter it again."""
        own = threading.get_ident()
        if self._writer == own:
            yield
            return
        with self._changed:
            if own not in self._readers:
                self._wait_to_read(own)
            self._readers[own] += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers[own] -= 1
                if not self._readers[own]:
                    del self._readers[own]
                self._changed.notify_all()

    def _wait_to_read(self, own: int) -> None:
        this = object()
        self._waiting.add(this)
        try:
            # A signal's handler may save in a thread that waits to write, which it must not wait for.
            self._changed.wait_for(lambda: self._writer is None and (self._queued <= {own} or this in self._due))
        finally:  # Ctrl-C may come meanwhile
            self._waiting.discard(this)
            self._due.discard(this)
            self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Nobody else reads or writes meanwhile. The thread may enter it again."""
        own = threading.get_ident()
        if self._writer == own:
            yield
            return
        with self._changed:
            self._queued.add(own)
            try:
                self._changed.wait_for(lambda: self._writer is None and not self._readers and not self._due)
            finally:
                self._queued.discard(own)
                self._changed.notify_all()
            self._writer = own
        try:
            yield
        finally:
            with self._changed:
                self._writer, self._due = None, set(self._waiting)
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
