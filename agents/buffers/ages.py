"""Draws from a replay buffer that prefer what is new."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class AgeWeights:
    """Weights that fall linearly with age to a least one: max(least, 1 - slope * age).

    Ages are rows of a buffer, of which the newest is 1 old.

    Attributes:
        slope: how much weight a row loses with each one that is stored after it.
        least: weight of all that is older, above 0.
    """

    slope: float
    least: float

    def draw(self, rows: int, shares: np.ndarray) -> np.ndarray:
        """Ages whose probabilities are in proportion to their weights, from numbers uniform in [0, 1).

        The weights are the least one everywhere and, on the newest rows, something on top of it that falls linearly to
        0. Both sums are known in closed form, and so is which age one of them reaches a number at: no weight is ever
        summed up, however many rows there are.

        Args:
            rows: how many there are, at least 1.
            shares: one number for each draw.

        Returns:
            whole numbers from 1 to `rows`.
        """
        # On top of the least weight rows 1 to k have k * (1 - least) - slope * k * (k + 1) / 2 together.
        newest = min(rows, int((1 - self.least) / self.slope))
        if not newest:
            return (shares * rows).astype(np.int64) + 1
        height = 1 - self.least - self.slope / 2
        on_top = newest * height - self.slope * newest**2 / 2
        points = shares * (on_top + rows * self.least)
        root = np.sqrt(np.maximum(height**2 - 2 * self.slope * points, 0))
        among_newest = 2 * points / (height + root)  # the quadratic's smaller solution, without cancellation
        among_all = (points - on_top) / self.least
        ages = np.where(points < on_top, np.minimum(among_newest, newest - 1), np.minimum(among_all, rows - 1))
        found: np.ndarray = ages.astype(np.int64) + 1
        return found
