"""Observations that tell their task."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from envs.fits.base import Plan, VectorFit, channel_axis, is_image
from envs.shifts.observations import VectorObservationShift


class VectorTaskId(VectorFit, VectorObservationShift):
    """Observations with their task behind them: one number for each task of the stream, or one plane of an image.

    Args:
        games: the batch.
        index: of the task, whose number or plane is ``value``; all others are 0.
        count: tasks of the stream.
        axis: of the observation, at whose end they are added.
        value: 1, or what is as bright as that in images.
    """

    def _take(self, **arguments: Any) -> None:
        self._count, self._axis = arguments["count"], arguments["axis"]
        inner, before = self._box(), (slice(None),) * (self._axis + 1)
        sides = list(inner.shape)
        sides[self._axis] += self._count
        self._blank = np.zeros((self.num_envs, *sides), inner.dtype)  # all but what comes from the games
        self._blank[(*before, arguments["index"] - self._count)] = arguments["value"]
        self._rest = (*before, slice(None, -self._count))

    def _space(self) -> Box:
        return _with_id(self._box(), self._count, self._axis, self.arguments["value"])

    def _shifted(self, observations: NDArray[Any], games: NDArray[np.intp] | None = None) -> NDArray[Any]:
        seen = self._blank[: len(observations)].copy()
        seen[self._rest] = observations
        return seen


def plan(space: gymnasium.Space[Any], count: int) -> Plan:
    """How observations tell which of ``count`` tasks they are of.

    Raises:
        ValueError: they are neither vectors, boards nor images, or there are too many tasks for images.
    """
    if not isinstance(space, Box) or len(space.shape) not in (1, 3):
        raise ValueError(
            f"boundary 'observed' puts the task behind vectors and images, and the observations are {space}; flatten "
            "them in a wrapper, or give revealed"
        )
    axis, value = (channel_axis(space.shape), 255 if is_image(space) else 1) if len(space.shape) == 3 else (0, 1)
    common = _with_id(space, count, axis, value)
    most = min(side for place, side in enumerate(space.shape) if place != axis) if is_image(space) else math.inf
    # Of images SB3 takes the first of the shortest axes for the channels.
    if len(space.shape) == 3 and (channel_axis(common.shape) != axis or common.shape[axis] >= most):
        raise ValueError(
            f"boundary 'observed' puts a plane for each of {count:,} tasks behind the channels of {space.shape}, which "
            "would then no more be told from height and width; give fewer tasks, or revealed"
        )
    specs = [("task", {"index": index, "count": count, "axis": axis, "value": value}) for index in range(count)]
    what = "planes" if len(space.shape) == 3 else "numbers"
    return Plan(
        common, specs, f"observations tell the task: of the last {count:,} {what} its own is {value}, all others 0"
    )


def _with_id(box: Box, count: int, axis: int, value: int) -> Box:
    """Observations with the task behind them."""
    sides = list(box.shape)
    sides[axis] = count
    low, high = np.zeros(sides, box.dtype), np.full(sides, value, box.dtype)
    return Box(np.concatenate([box.low, low], axis), np.concatenate([box.high, high], axis), dtype=box.dtype.type)
