"""Observations with a constant added."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.shifts.observations import VectorObservationShift
from envs.shifts.wrapper import Shift

_LARGEST = float(np.finfo(np.float32).max)


class VectorObservationOffset(VectorObservationShift):
    """`ObservationOffset` around a batch of games, the same for all of them."""

    offset: NDArray[np.float32]

    def _checked(self, offset: Any) -> dict[str, Any]:
        return {"offset": checked_offset(offset, self._box().shape)}

    def _shifted(self, observations: NDArray[Any], games: NDArray[np.intp] | None = None) -> NDArray[Any]:
        shifted: NDArray[Any] = np.add(observations, self.offset, dtype=np.float32)
        return shifted


class ObservationOffset(Shift):
    """Adds a constant to every observation.

    The observation space becomes unbounded, of 32-bit floats, so that one space serves all offsets.

    Args:
        env: an environment whose observations are arrays (a Box).
        offset: what is added, with the shape of an observation, or one number for all its entries.

    Raises:
        ValueError: the observations are no arrays, or the offset has another shape or is not made of finite numbers.

    >>> env = ObservationOffset(gymnasium.make("CartPole-v1"), [1.0, 0.0, 0.0, -2.0])
    >>> observation, _ = env.reset(seed=0)
    >>> bare, _ = gymnasium.make("CartPole-v1").reset(seed=0)
    >>> (observation - bare).round(4).tolist()
    [1.0, 0.0, 0.0, -2.0]
    """

    batched = VectorObservationOffset

    def __init__(self, env: gymnasium.Env[Any, Any], offset: ArrayLike) -> None:
        super().__init__(env, offset=offset)


def checked_offset(offset: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """``offset``, or one number for all entries, as an array for observations of ``shape``.

    Raises:
        ValueError: it has another shape, or is not made of finite numbers.
    """
    remedy = "give as many finite numbers as an observation has"
    try:
        values = np.asarray(offset)
    except ValueError as error:  # lists of unequal lengths
        raise ValueError(f"offset must be numbers of shape {shape}, got {offset!r}; {remedy}") from error
    if not values.shape:
        values = np.full(shape, values)
    if values.shape != shape:
        raise ValueError(
            f"offset must have the observations' shape {shape}, got {offset!r} of {values.shape}; {remedy}"
        )
    if values.dtype.kind not in "iuf" or not (np.abs(values) <= _LARGEST).all():
        raise ValueError(f"offset must be finite numbers, got {offset!r}; {remedy}")
    return values.astype(np.float32)
