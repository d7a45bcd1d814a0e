"""ProcGen (Cobbe et al., arXiv 1912.01588): sixteen games whose levels are made from numbers, played by envpool.

The extra ``procgen`` brings envpool and the Qt libraries that it draws with; nothing of it is imported before games are
made. ``envs.procgen.starpilot_hard`` and so on are the records of the tasks in ``envs.catalogue.PROCGEN``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium

from envs.catalogue import PROCGEN

if TYPE_CHECKING:
    from envs.games import Games


@dataclass(frozen=True)
class ProcgenWorld:
    """One of the games with easy levels or with hard ones, see ``envs.worlds.WorldSpec``."""

    name: str

    @property
    def arguments(self) -> dict[str, Any]:
        """All that a task may give, with the defaults: all levels."""
        return {"start_level": 0, "num_levels": 0}

    @property
    def in_place(self) -> frozenset[str]:
        """None of them: envpool fixes the levels where games are made."""
        return frozenset()

    def __call__(self, *, render_mode: str | None = None, **arguments: Any) -> gymnasium.Env[Any, Any]:
        """One game, as a stream without end."""
        from envs.single import StreamEnv

        return StreamEnv({"id": self.name, **arguments}, render_mode=render_mode)

    def make_games(self, n_envs: int, **arguments: Any) -> Games:
        """A batch of games."""
        from envs.procgen.batch import ProcgenGames

        return ProcgenGames(self.name, n_envs, **arguments)


def __getattr__(name: str) -> ProcgenWorld:
    if name not in PROCGEN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return ProcgenWorld(name)
