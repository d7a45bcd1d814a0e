"""What a process has but once, such as the global generators, of several runs that have their turns in it."""

from __future__ import annotations

import ctypes
import random
import sys
import warnings
from typing import Any, NamedTuple, Self, TextIO

import numpy as np
import torch
from numpy.random import mtrand

WORDS = 624 + 1  # of 32 bits: what MT19937 holds, and how many of them have been drawn


class Process:
    """Whose the process is: what it has but once stays as one has left it, till another one has its turn."""

    def __init__(self) -> None:
        self._left: dict[object, _Once] = {}
        self._holder: object = None

    def give(self, holder: object) -> None:
        """To a run, as that has left it, or as all was before the first one; to None, as that was."""
        if holder is self._holder:
            return
        self._left[self._holder] = _Once.now(self._left.get(self._holder))
        if holder not in self._left:
            self._left[holder] = self._left[None].copy()
        self._left[holder].put()
        self._holder = holder

    def forget(self, holder: object) -> None:
        """Give it to nobody, and forget what a run has left that has ended."""
        self.give(None)
        self._left.pop(holder, None)


class _Once(NamedTuple):
    python: Any
    numpy: _Numpy
    torch: torch.Tensor
    filters: Any
    showwarning: Any
    stdout: TextIO
    stderr: TextIO
    path: list[str]
    meta_path: list[Any]

    @classmethod
    def now(cls, before: _Once | None) -> Self:
        """As all is; `before` is what it was when the turn began that ends."""
        return cls(
            random.getstate(),
            _Numpy.now(None if before is None else before.numpy),
            torch.get_rng_state(),
            warnings.filters,
            warnings.showwarning,
            sys.stdout,
            sys.stderr,
            [*sys.path],
            [*sys.meta_path],
        )

    def copy(self) -> Self:
        """For another run that begins as this one stands."""
        return self._replace(numpy=self.numpy.copy())

    def put(self) -> None:
        """Let the process have these."""
        random.setstate(self.python)
        self.numpy.put()
        torch.set_rng_state(self.torch)
        warnings.filters = self.filters
        warnings.showwarning = self.showwarning
        sys.stdout, sys.stderr = self.stdout, self.stderr
        sys.path[:], sys.meta_path[:] = self.path, self.meta_path


class _Numpy(NamedTuple):
    """Numpy's global generator.

    Numpy takes 40 microseconds to tell its state, and as many to take another. So every run has a bit generator of its
    own, which is put in as it is. What is lost then is the second one of two normal numbers that were drawn at once:
    that is looked for where something was drawn, and put back where there is one.

    Attributes:
        generator: of bits.
        words: of its memory; None where those of its kind are not known.
        waiting: all of the state, where a number waits; else None.
    """

    generator: Any
    words: bytes | None
    waiting: dict[str, Any] | None

    @classmethod
    def now(cls, before: _Numpy | None) -> _Numpy:
        """As it is; `before` where nothing was drawn since then."""
        generator = mtrand.get_bit_generator()
        known = type(generator) is np.random.MT19937
        words = ctypes.string_at(generator.ctypes.state_address, 4 * WORDS) if known else None
        found = cls(generator, words, None)
        if words is not None and found == before:
            return found
        state = np.random.get_state(legacy=False)
        return found._replace(waiting=state if state["has_gauss"] else None)

    def copy(self) -> _Numpy:
        """With a bit generator of its own."""
        generator = type(self.generator)()
        generator.state = self.generator.state
        return self._replace(generator=generator)

    def put(self) -> None:
        """Let the process have it."""
        mtrand.set_bit_generator(self.generator)
        if self.waiting is not None:
            np.random.set_state(self.waiting)
