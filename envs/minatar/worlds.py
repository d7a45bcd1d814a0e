"""The records of the five games."""

from dataclasses import dataclass
from typing import Any

from envs.catalogue import GAMES
from envs.games import Games
from envs.minatar import MinAtarEnv, make_games
from envs.minatar.parameters import Parameters

_DEFAULTS = Parameters().as_dict()


@dataclass(frozen=True)
class MinAtarWorld:
    """One of the games, see ``envs.worlds.WorldSpec``."""

    name: str

    @property
    def arguments(self) -> dict[str, Any]:
        """All that a task may give, with the defaults."""
        return dict(_DEFAULTS)

    @property
    def action_meanings(self) -> tuple[str, ...]:
        """What each action means, in all of the games."""
        return ("noop", "left", "up", "right", "down", "fire")

    @property
    def in_place(self) -> frozenset[str]:
        """All of them: games can change each while they are played."""
        return frozenset(_DEFAULTS)

    def __call__(self, **arguments: Any) -> MinAtarEnv:
        """One game."""
        return MinAtarEnv(self.name, **arguments)

    def make_games(self, n_envs: int, **arguments: Any) -> Games:
        """A batch of games."""
        return make_games(self.name, n_envs, **arguments)


asterix, breakout, freeway, seaquest, space_invaders = map(MinAtarWorld, GAMES)
