"""Tasks: a name and how to make the environments of one world."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import gymnasium

from envs.drift import Drift
from envs.fits import fit_games
from envs.games import Games, SyncGames
from envs.shifts import VectorShift, apply, apply_games, layers_of
from envs.state import json_value

Shifts = tuple[tuple[str, Mapping[str, Any]], ...]


class World(Protocol):
    """What makes games: any function that returns a Gymnasium environment will do.

    It takes ``render_mode`` where that is asked for. One with a method ``make_games(n_envs, render_mode=...)`` makes
    batches of its own; games of all others are played one after the other. With ``plays_as(other)`` and ``in_place`` a
    batch goes from one world to another of its kind without being made anew. ``action_meanings`` names what each of its
    Discrete actions means; else ``get_action_meanings()`` of the games may say it.
    """

    def __call__(self) -> gymnasium.Env[Any, Any]: ...


@dataclass(frozen=True)
class Task:
    """A world with shifts around it, and how either drifts while it is played.

    Tasks of a stream are told apart by name; two tasks are equal if all of this is.

    Args:
        name: the task's own.
        world: makes the bare environments, see `World`.
        shifts: names of ``envs.shifts.SHIFTS`` with their arguments, the innermost first.
        drift: schedules by argument of the world ("gravity") or of a shift ("observation_noise.std").
        variant_of: name that all variants of one entry share; None for a task that is no variant.
        actions: what each of the world's Discrete actions means, in lower case; empty where the entry does not say.
        fit: layers of ``envs.fits.FITS`` with their arguments, which give games the spaces of a stream.
    """

    name: str
    world: World = field(hash=False)
    shifts: Shifts = field(default=(), hash=False)
    drift: Mapping[str, Drift] = field(default_factory=dict, hash=False)
    variant_of: str | None = None
    actions: tuple[str, ...] = ()
    fit: Shifts = field(default=(), hash=False)

    @property
    def family(self) -> str:
        """Under which name results are kept: that of all variants together, or the task's own."""
        return self.variant_of or self.name

    @property
    def arguments(self) -> dict[str, Any]:
        """What tells this world from others of its kind: JSON values, those of a user's own world left out."""
        return {
            "world": json_value(getattr(self.world, "arguments", {})),
            "shifts": [json_value({"name": name, **arguments}) for name, arguments in self.shifts],
            "drift": {key: json_value(drift.mapping) for key, drift in self.drift.items()},
        }

    def make_env(self) -> gymnasium.Env[Any, Any]:
        """One environment of this task, in the spaces of its own and as it is before anything drifts."""
        return apply(self.world(), self.shifts)

    def make_games(self, n_envs: int, render_mode: str | None = None) -> Games:
        """``n_envs`` games of this task as one batch."""
        options = {} if render_mode is None else {"render_mode": render_mode}
        if hasattr(self.world, "make_games"):
            games = self.world.make_games(n_envs, **options)
        else:
            games = SyncGames([partial(self.world, **options)] * n_envs, self.name)
        return fit_games(apply_games(games, self.shifts), self.fit)

    def plays_as(self, other: Task) -> bool:
        """Whether this task's games are the other's with other values for arguments that `remake` can change.

        These are all of the shifts and of the fit, and those that a world of ours has ``in_place``.
        """
        alike = self.world == other.world or (hasattr(self.world, "plays_as") and self.world.plays_as(other.world))
        return (
            alike
            and [(name, set(arguments)) for name, arguments in self._layers]
            == [(name, set(arguments)) for name, arguments in other._layers]
            and set(self.drift) == set(other.drift)
        )

    @property
    def _layers(self) -> Shifts:
        """What lies around the world, the innermost first."""
        return (*self.shifts, *self.fit)

    def remake(self, games: Games) -> None:
        """Make games of this task of those of one that it `plays_as`; they are to be reset next.

        Raises:
            ValueError: an argument is out of range.
        """
        for layer, (_, arguments) in zip(layers_of(games), reversed(self._layers), strict=False):
            assert isinstance(layer, VectorShift)  # the last one is the outermost layer, and the world comes last
            layer.remake(**arguments)
        if in_place := getattr(self.world, "in_place", {}):
            layers_of(games)[-1].configure(**in_place)


@contextmanager
def making(task: Task) -> Iterator[None]:
    """Turn whatever goes wrong while environments of ``task`` are made into a ValueError that names it."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) and hasattr(task.world, "make_games"):  # it says by itself what to do
            raise ValueError(f"task {task.name!r}: {error}") from error
        raise ValueError(
            f"task {task.name!r} cannot be made ({type(error).__name__}: {error}); "
            "check its arguments and that what it needs is installed"
        ) from error
