"""Draws in proportion to a million numbers, any of which may change between two draws."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

FANOUT = 32
"""Numbers beneath each sum. With two, the twenty levels over a million would each cost several numpy calls."""
WIDEST = 1024
"""Most sums of the topmost level, whose running sum is computed at every draw; at least `FANOUT`."""


class SumTree:
    """Numbers of at least 0 with the sums of neighbours over them, and the sums of these, until there are few.

    A sum is computed of what is beneath it and of nothing else: it does not drift, and is the same bit for bit however
    the numbers came to be (Schaul et al., arXiv 1511.05952, appendix B.2.1, with more than two children).

    Args:
        shape: of the array that it stands for; indices are into this one flattened.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._levels = [_zeros(math.prod(shape))]
        while len(self._levels[-1]) > WIDEST:
            self._levels.append(_zeros(len(self._levels[-1]) // FANOUT))

    @property
    def numbers(self) -> np.ndarray:
        """The numbers, an array of that shape in the tree's own memory; `sum_up` follows what is written into it."""
        return self._levels[0][: math.prod(self._shape)].reshape(self._shape)

    @property
    def total(self) -> float:
        """The sum of all."""
        return float(self._levels[-1].sum())

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._levels[0][indices]
        return found

    def __setitem__(self, indices: np.ndarray, numbers: np.ndarray | float) -> None:
        """Of an index that is given several times the last number counts."""
        self._levels[0][indices] = numbers
        for below, above in pairwise(self._levels):
            indices = indices // FANOUT
            above[indices] = below.reshape(-1, FANOUT).take(indices, axis=0).sum(axis=1)

    def sum_up(self) -> None:
        """Compute all sums anew.

        Raises:
            ValueError: they are of what is no finite number of at least 0.
        """
        if not (self._levels[0].min() >= 0 and self._levels[0].max() < math.inf):
            raise ValueError("the priorities are not all numbers of at least 0")
        for below, above in pairwise(self._levels):
            blocks = len(below) // FANOUT
            above[:blocks] = below.reshape(-1, FANOUT).sum(axis=1)

    def draw(self, shares: np.ndarray) -> np.ndarray:
        """Indices at which the running sum of the numbers passes these shares of the total.

        Args:
            shares: from 0 to below 1; where uniform, an index is drawn in proportion to its number.

        Returns:
            an index for each share, of a number above 0.

        Raises:
            ValueError: none is above 0.
        """
        top, each = self._levels[-1], np.arange(0, len(shares) * FANOUT, FANOUT)
        running = top.cumsum()
        if not running[-1] > 0:
            raise ValueError("nothing is there that could be drawn")
        # Running sums round otherwise than sums: no point may lie behind the last number, or before the first one.
        points = np.minimum(shares * running[-1], np.nextafter(running[-1], 0))
        indices: np.ndarray = running.searchsorted(points, side="right")
        points -= running[indices] - top[indices]
        for level in self._levels[-2::-1]:
            blocks = level.reshape(-1, FANOUT).take(indices, axis=0)
            running = blocks.cumsum(axis=1)
            points = np.minimum(np.maximum(points, 0), np.nextafter(running[:, -1], 0))
            chosen = (running > points[:, None]).argmax(axis=1)
            indices = indices * FANOUT + chosen
            chosen += each
            points -= running.take(chosen) - blocks.take(chosen)
        return indices


def _zeros(least: int) -> np.ndarray:
    """Zeros in whole blocks, at least so many."""
    return np.zeros(-(-least // FANOUT) * FANOUT)
