"""Observations whose positions are permuted."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.checks import check_int
from envs.shifts.observations import VectorObservationShift
from envs.shifts.wrapper import Shift


class VectorPixelPermutation(VectorObservationShift):
    """`PixelPermutation` around a batch of games, the same in all of them."""

    seed: int

    def _checked(self, seed: Any) -> dict[str, Any]:
        if not self._box().shape:
            raise ValueError(f"{self.label} needs observations of several numbers, got {self._box()}; drop it")
        return {"seed": check_int("seed", seed, 0, "give a number such as 1, which decides the permutation")}

    def _take(self, **arguments: Any) -> None:
        super()._take(**arguments)
        shape = self._box().shape
        self._channels = shape[-1] if len(shape) > 2 else 1
        n_positions = int(np.prod(shape)) // self._channels
        self.permutation = np.random.default_rng(self.seed).permutation(n_positions)

    def _space(self) -> gymnasium.spaces.Box:
        box = self._box()
        axes = tuple(range(len(box.shape) - 1)) if len(box.shape) > 2 else None
        low, high = box.low.min(axes, keepdims=True), box.high.max(axes, keepdims=True)
        return gymnasium.spaces.Box(
            np.broadcast_to(low, box.shape), np.broadcast_to(high, box.shape), dtype=box.dtype.type
        )

    def _shifted(self, observations: NDArray[Any], games: NDArray[np.intp] | None = None) -> NDArray[Any]:
        # The channels of a position move as one item, several times faster than one by one.
        position = np.dtype((np.void, observations.dtype.itemsize * self._channels))
        rows = np.ascontiguousarray(observations).reshape(len(observations), -1).view(position)
        moved: NDArray[Any] = np.take(rows, self.permutation, axis=1)
        return moved.view(observations.dtype).reshape(observations.shape)


class PixelPermutation(Shift):
    """Permutes the positions of every observation, always in the same way.

    The permutation is ``numpy.random.default_rng(seed).permutation(n)``; position p of what is seen is position
    ``permutation[p]`` of what the environment shows, counted in C order. Positions are all axes but the last one, the
    channels, which stay together; of observations with one or two axes every number is a position. Where bounds differ
    from position to position, all positions get the widest, so that one space serves all permutations.

    Args:
        env: an environment whose observations are arrays (a Box).
        seed: decides the permutation, at least 0.

    Raises:
        ValueError: the observations are no arrays, or the seed is not a whole number of at least 0.

    >>> env = PixelPermutation(gymnasium.make("CartPole-v1"), seed=2)
    >>> bare, _ = gymnasium.make("CartPole-v1").reset(seed=0)
    >>> observation, _ = env.reset(seed=0)
    >>> env.permutation.tolist(), (observation == bare[env.permutation]).all().item()
    ([3, 2, 0, 1], True)
    """

    batched = VectorPixelPermutation
    shift: VectorPixelPermutation

    def __init__(self, env: gymnasium.Env[Any, Any], seed: int) -> None:
        super().__init__(env, seed=seed)

    @property
    def permutation(self) -> NDArray[np.int64]:
        """The position of the environment's that is seen at each position."""
        return self.shift.permutation
