"""Boolean observations of a replay buffer as bits: an eighth of the memory, and the same values."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer

from agents.buffers.prioritized import PrioritizedReplayBuffer

KNOWN = (ReplayBuffer, NStepReplayBuffer, PrioritizedReplayBuffer)
"""Buffers that use their observations as a `BitArray` allows."""


class BitArray:
    """An array of booleans that is kept as bits, as far as replay buffers use one.

    Reading takes an index of its first two axes and gives an ordinary array; writing takes whole rows.

    Args:
        shape: (rows, games, ...) of the array that it stands for.

    Attributes:
        bits: uint8 (rows, games, bytes), in which the first of the booleans is the highest bit of the first byte.
    """

    dtype = np.dtype(np.bool_)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._each = prod(shape[2:])
        self.bits = np.zeros((*shape[:2], -(-self._each // 8)), np.uint8)

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.bits.nbytes

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, index: Any) -> np.ndarray:
        leading = index if isinstance(index, tuple) else (index,)
        if leading and leading[-1] is Ellipsis:
            leading = leading[:-1]
        whole = all(isinstance(part, slice) and part == slice(None) for part in leading[2:])
        if not whole or any(part is Ellipsis for part in leading[:2]):
            raise IndexError(f"a BitArray takes an index of rows and games, got {index!r}; index what that gives")
        return self.unpacked(self.bits[leading[:2]])

    def unpacked(self, bits: np.ndarray) -> np.ndarray:
        """The booleans (..., *shape[2:]) that are kept as `bits` (..., bytes)."""
        found = np.unpackbits(bits, axis=-1, count=self._each).view(np.bool_)
        return found.reshape(*found.shape[:-1], *self.shape[2:])

    def __setitem__(self, rows: Any, values: Any) -> None:
        flags = np.asarray(values, np.bool_)
        self.bits[rows] = np.packbits(flags.reshape(*flags.shape[: flags.ndim - len(self.shape) + 2], -1), axis=-1)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


def keep_bits(buffer: ReplayBuffer) -> None:
    """Let a buffer of `KNOWN` keep boolean observations as bits; it is empty, and others are left as they are.

    Another class may do more with its arrays than these do.
    """
    if type(buffer) not in KNOWN or buffer.observation_space.dtype != np.bool_:
        return
    for name in ("observations", "next_observations"):
        if hasattr(buffer, name):  # next ones are not kept where the next row's observation is that
            setattr(buffer, name, BitArray(getattr(buffer, name).shape))
