"""What all fits share, and what is planned for the tasks of a stream."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import gymnasium
import numpy as np

from envs.shifts.base import VectorShift

Spec: TypeAlias = tuple[str, Mapping[str, Any]]
"""Name of a fit and its arguments, which are plain data."""

Owners: TypeAlias = Sequence[Sequence[str]]
"""For each of several spaces, the names of the tasks that have it."""

SHOWN = 6  # tasks that a sentence names


class Plan(NamedTuple):
    """How the spaces of several tasks become one.

    Attributes:
        space: the one.
        specs: for each task the layer around its games, None where they have that space anyway.
        sentence: what is done, for the log.
        meanings: of Discrete actions, where they are known.
    """

    space: gymnasium.Space[Any]
    specs: Sequence[Spec | None]
    sentence: str
    meanings: tuple[str, ...] = ()


class VectorFit(VectorShift):
    """A layer around a batch of games that gives them a space of their stream.

    All that it does follows from its arguments, which no drift changes, so that it has no state of its own.
    """

    def _checked(self, *_: Any, **arguments: Any) -> dict[str, Any]:
        return arguments

    def configure(self, **parameters: Any) -> None:
        """Change arguments of what is inside."""
        self.games.configure(**parameters)

    def own_state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def set_own_state(self, state: dict[str, Any]) -> None:
        """Nothing is there to go on from."""


def is_image(space: gymnasium.spaces.Box) -> bool:
    """Whether learners take observations for images: three axes of 8-bit numbers from 0 to 255."""
    return bool(
        len(space.shape) == 3 and space.dtype == np.uint8 and (space.low == 0).all() and (space.high == 255).all()
    )


def channel_axis(shape: Sequence[int]) -> int:
    """Which of three axes is that of the channels: the first where it is the shortest, else the last."""
    return 0 if shape[0] < min(shape[1:]) else 2


def grouped(values: Iterable[Hashable], owners: Owners) -> dict[Any, str]:
    """Value -> the names of the tasks that have it, for a sentence; of many the first."""
    found: dict[Any, list[str]] = {}
    for value, names in zip(values, owners, strict=True):
        found.setdefault(value, []).extend(names)
    return {
        value: ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")
        for value, names in found.items()
    }
