"""The record of a world that envpool plays, see ``envs.worlds.WorldSpec``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import gymnasium

from envs.games import Games
from envs.pool.games import PoolGames


@dataclass(frozen=True)
class PoolWorld:
    """A task of one of the suites.

    Args:
        name: of the task.
        env: the class that plays batches of it; its arguments by name are the task's.
    """

    name: str
    env: type[PoolGames]

    @property
    def arguments(self) -> dict[str, Any]:
        """All that a task may give, with the defaults."""
        parameters = inspect.signature(self.env).parameters.values()
        given = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
        del given["render_mode"]
        return given

    @property
    def action_meanings(self) -> tuple[str, ...]:
        """What each of its Discrete actions means, where it has all of its suite's; empty for continuous ones."""
        return self.env.meanings

    @property
    def in_place(self) -> frozenset[str]:
        """None of them: envpool fixes all arguments where games are made."""
        return frozenset()

    def __call__(self, *, render_mode: str | None = None, **arguments: Any) -> gymnasium.Env[Any, Any]:
        """One game, as a stream without end."""
        from envs.single import StreamEnv

        return StreamEnv({"id": self.name, **arguments}, render_mode=render_mode)

    def make_games(self, n_envs: int, **arguments: Any) -> Games:
        """A batch of games."""
        return self.env(self.name, n_envs, **arguments)


def worlds(names: Iterable[str], env: type[PoolGames]) -> Callable[[str], PoolWorld]:
    """The ``__getattr__`` of a suite's module, which has the records of its tasks by their names."""
    known = frozenset(names)

    def record(name: str) -> PoolWorld:
        if name not in known:
            raise AttributeError(f"module {env.__module__!r} has no attribute {name!r}")
        return PoolWorld(name, env)

    return record
