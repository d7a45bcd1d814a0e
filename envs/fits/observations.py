"""Observations of different shapes as one: padded with zeros, images also resized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from envs.fits.base import Owners, Plan, Spec, VectorFit, channel_axis, grouped, is_image
from envs.fits.resizing import Resizing
from envs.shifts.observations import VectorObservationShift

ALONE = "put them into separate streams, or wrap one to the other's space"


class VectorFittedObservations(VectorFit, VectorObservationShift):
    """Observations in the stream's shape: its order of the axes, its height and width, and zeros at the ends of axes.

    Args:
        games: the batch.
        shape: of the stream's observations.
        dtype: of the stream's observations.
        low: their smallest value; None for no bound.
        high: their largest value; None for no bound.
        channels: the axis of the games' channels, and that of the stream's; None where nothing is moved or resized.
        size: height and width that images are resized to; None where they have it.
    """

    def _take(self, **arguments: Any) -> None:
        self._shape = tuple(arguments["shape"])
        self._dtype = np.dtype(arguments["dtype"])
        self._channels, size = arguments["channels"], arguments["size"]
        self._resizing = None
        if size is not None:
            sides = list(self._box().shape)
            channels = sides.pop(self._channels[0])
            self._resizing = Resizing(self.num_envs, (channels, *sides), size)

    def _space(self) -> Box:
        return _box(self._shape, self._dtype, self.arguments["low"], self.arguments["high"])

    def _shifted(self, observations: NDArray[Any], games: NDArray[np.intp] | None = None) -> NDArray[Any]:
        found = observations
        if self._resizing is not None:
            own, to = self._channels
            found = np.moveaxis(self._resizing(np.moveaxis(found, own + 1, 1)), 1, to + 1)
        elif self._channels is not None:
            found = np.moveaxis(found, *(axis + 1 for axis in self._channels))
        if found.shape[1:] == self._shape:
            return found.astype(self._dtype, order="C")
        fitted = np.zeros((len(found), *self._shape), self._dtype)
        fitted[(slice(None), *map(slice, found.shape[1:]))] = found
        return fitted


def plan(owners: Owners, spaces: Sequence[gymnasium.Space[Any]], how: str, size: Sequence[int] | None) -> Plan:
    """How different observations become one.

    Vectors, boards and images get zeros at the ends of their axes. Boards and images have the axis of their channels
    where the first ones have it; images that are resized have ``size``, or the largest height and width of all.

    Args:
        owners: of the observations.
        spaces: of each of these.
        how: "pad" or "resize".
        size: height and width to resize to.

    Raises:
        ValueError: these cannot become one.
    """
    boxes = _checked([tasks[0] for tasks in owners], spaces, how)
    axes = [channel_axis(box.shape) if len(box.shape) == 3 else None for box in boxes]
    shape = np.max([_moved(box.shape, axis, axes[0]) for box, axis in zip(boxes, axes, strict=True)], axis=0)
    sides = [axis for axis in range(len(shape)) if axis != axes[0]]
    if size is not None:
        shape[sides] = size
    dtype = np.result_type(*(box.dtype for box in boxes))
    low = high = None
    if not np.issubdtype(dtype, np.floating):
        low = min(0, *(int(box.low.min()) for box in boxes))
        high = max(0, *(int(box.high.max()) for box in boxes))
    common = _box(tuple(shape.tolist()), dtype, low, high)
    specs: list[Spec | None] = []
    for box, axis in zip(boxes, axes, strict=True):
        fitted = {"shape": shape.tolist(), "dtype": dtype.name, "low": low, "high": high}
        own = _moved(box.shape, axis, axes[0])
        to = shape[sides].tolist() if how == "resize" and (own[sides] != shape[sides]).any() else None
        moved = None if axis == axes[0] and to is None else [axis, axes[0]]
        specs.append(None if box == common else ("observations", {**fitted, "channels": moved, "size": to}))
    found = ", ".join(f"{own} of {tasks}" for own, tasks in grouped((box.shape for box in boxes), owners).items())
    done = "resized and padded with zeros" if how == "resize" else "padded with zeros"
    return Plan(common, specs, f"observations are {common.shape} of {dtype}: {found}; {done}")


def _checked(names: Sequence[str], spaces: Sequence[gymnasium.Space[Any]], how: str) -> list[Box]:
    """The observations, which are arrays of one kind."""
    boxes: list[Box] = []
    for name, space in zip(names, spaces, strict=True):
        if not isinstance(space, Box):
            raise ValueError(f"task {name!r} has observations {space}, not one array that could be fitted; {ALONE}")
        if len(space.shape) != len(boxes[0].shape if boxes else space.shape):
            raise ValueError(
                f"tasks {names[0]!r} and {name!r} have observations of shapes {boxes[0].shape} and {space.shape}, "
                f"which nothing makes one; {ALONE}"
            )
        boxes.append(space)
    images = [is_image(box) for box in boxes]
    if how == "resize" and not all(images):
        name = names[images.index(False)]
        raise ValueError(
            f"spaces.observations is 'resize', but task {name!r} has observations {boxes[images.index(False)]}, no "
            "images of three axes from 0 to 255; give pad"
        )
    if any(images) and not all(images):
        raise ValueError(
            f"tasks {names[images.index(True)]!r} and {names[images.index(False)]!r} have images and other arrays, "
            f"which learners scale in different ways; {ALONE}"
        )
    return boxes


def _moved(shape: Sequence[int], axis: int | None, to: int | None) -> NDArray[np.int64]:
    """A shape whose channels' axis is put elsewhere."""
    if axis is None or to is None:
        return np.array(shape)
    others = [side for place, side in enumerate(shape) if place != axis]
    return np.array([*others[:to], shape[axis], *others[to:]])


def _box(shape: tuple[int, ...], dtype: np.dtype[Any], low: int | None, high: int | None) -> Box:
    return Box(-np.inf if low is None else low, np.inf if high is None else high, shape, dtype.type)
