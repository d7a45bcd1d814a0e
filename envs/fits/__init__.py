"""Fits: layers around the games of a task that give them the spaces of their stream, as its declared mapping says.

A task that has the stream's spaces anyway has none. They lie outside the shifts, which change the world itself.

>>> from envs.entries import task_from
>>> games = fit_games(task_from("cartpole").make_games(2), [("task", {"index": 1, "count": 3, "axis": 0, "value": 1})])
>>> games.reset(seed=0)[0][:, 4:].tolist()
[[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from envs.fits.actions import VectorFittedBox, VectorUnitedActions
from envs.fits.base import VectorFit
from envs.fits.observations import VectorFittedObservations
from envs.fits.task_id import VectorTaskId
from envs.games import Games

__all__ = ["FITS", "VectorFit", "fit_games"]

FITS: Mapping[str, type[VectorFit]] = MappingProxyType(
    {
        "observations": VectorFittedObservations,
        "actions": VectorUnitedActions,
        "box": VectorFittedBox,
        "task": VectorTaskId,
    }
)
"""The layers, by the names that tasks keep them under."""


def fit_games(games: Games, specs: Sequence[tuple[str, Mapping[str, Any]]]) -> Games:
    """``games`` inside the layers of ``specs``, the first of which is the innermost."""
    for name, arguments in specs:
        games = FITS[name](games, **arguments)
    return games
