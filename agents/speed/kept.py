"""What is made of weights, such as a transposed copy, kept for forwards between which they seldom change."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

Made = TypeVar("Made")


class Kept:
    """Around each of several forwards, as of a rollout: what `made_of` makes of a weight the next ones find again.

    In each forward a weight is compared with a copy, once and bit by bit, which takes a fifth of the time of making a
    transposed one: no count of versions tells of what a callback writes through ``.data`` or NumPy. It is of the thread
    that enters it.
    """

    def __init__(self) -> None:
        self._of: dict[int, _Weight] = {}
        self._compared: set[int] = set()  # in this forward
        self._token: Token[Kept | None] | None = None

    def __enter__(self) -> Self:
        self._compared.clear()
        self._token = _ENTERED.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._token is not None
        _ENTERED.reset(self._token)

    def find(self, weight: Tensor, make: Callable[[Tensor], Made]) -> Made:
        """What `make` makes of a weight as it is now."""
        key = id(weight)
        if key not in self._compared:
            self._compared.add(key)
            if key not in self._of or not self._of[key].holds(weight):
                self._of[key] = _Weight(weight)
        found: Made = self._of[key].find(make)
        return found


_ENTERED: ContextVar[Kept | None] = ContextVar("kept", default=None)


def made_of(weight: Tensor, make: Callable[[Tensor], Made]) -> Made:
    """What `make`, a function of a module, makes of a weight on a CPU; it may be kept, and is not to be written to."""
    kept = _ENTERED.get()
    return make(weight.detach()) if kept is None else kept.find(weight, make)


def are_kept() -> bool:
    """Whether `made_of` keeps what it gives."""
    return _ENTERED.get() is not None


class _Weight:
    """One, as it was when something was made of it."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight  # so that no other gets its identity
        self._copy = weight.detach().clone()
        self._bits = _bits(self._copy)
        self._made: dict[Callable[[Tensor], Any], Any] = {}

    def holds(self, weight: Tensor) -> bool:
        """Whether it has the same bits."""
        same = weight.dtype is self._copy.dtype and weight.shape == self._copy.shape
        return same and bool((_bits(weight) == self._bits).all())

    def find(self, make: Callable[[Tensor], Any]) -> Any:
        """What is made of it."""
        if make not in self._made:
            self._made[make] = make(self._copy)
        return self._made[make]


def _bits(weight: Tensor) -> np.ndarray:
    """As whole numbers: as such no number differs from itself, and the two zeros differ."""
    return weight.detach().view(_AS_WHOLE[weight.element_size()]).numpy()


_AS_WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
