"""Worlds whose physics are arguments: one record each, which listings, checks, streams and drift read.

A world is added by a file with its record and a line in ``envs.catalogue.TASKS``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import Parameter, Signature
from typing import Any, Literal

import gymnasium

from envs.arguments import Quantities, check_reward_scale, defaults, limited
from envs.games import Games, SyncGames
from envs.shifts import apply, apply_games
from envs.task import Shifts


@dataclass(frozen=True)
class WorldSpec:
    """A world with physics; called with arguments by name it makes one environment.

    Beside its physics a world may take

    - ``offset``: numbers added to every observation; None adds nothing.
    - ``episode_limit``: steps after which an unfinished episode is truncated.
    - ``reward_scale``: factor on rewards, above 0; where it is not 1, an episode's last info has ``unscaled_return``.
    - ``render_mode``: None, "rgb_array" or "human".

    Args:
        name: of the task.
        env: makes the bare environment, from the physics and ``render_mode`` by name.
        physics: the arguments of that, which may change while it is played.
        episode_limit: the default.
        offset: whether it takes one. "always": observations are unbounded with any, none included, so that the first
            task of a stream has the space of all that follow. "given": they are with one, and without it Gymnasium's.
        batch: makes a batch of bare games from their number, and from physics, ``episode_limit`` and ``render_mode`` by
            name; None plays games one by one.
        action_meanings: what each of its Discrete actions means; empty for continuous ones.

    >>> from envs.control.pendulum import pendulum
    >>> env = pendulum(gravity=5.0, episode_limit=100)
    >>> env.unwrapped.physics["gravity"], pendulum.arguments["length"]
    (5.0, 1.0)
    """

    name: str
    env: Callable[..., gymnasium.Env[Any, Any]]
    physics: Quantities
    episode_limit: int
    offset: Literal["none", "always", "given"] = "always"
    batch: Callable[..., Games] | None = None
    action_meanings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "physics", dict(self.physics))  # agents are copied and pickled with their games

    @property
    def arguments(self) -> Mapping[str, Any]:
        """All that a task may give, with the defaults."""
        offset: dict[str, Any] = {} if self.offset == "none" else {"offset": None}
        return defaults(self.physics) | offset | {"episode_limit": self.episode_limit, "reward_scale": 1.0}

    @property
    def in_place(self) -> frozenset[str]:
        """The arguments that games can change while they are played."""
        return frozenset(self.physics)

    @property
    def __signature__(self) -> Signature:
        options = {**self.arguments, "render_mode": None}
        return Signature([Parameter(name, Parameter.KEYWORD_ONLY, default=value) for name, value in options.items()])

    def __call__(self, **arguments: Any) -> gymnasium.Env[Any, Any]:
        """One environment.

        Raises:
            TypeError: there is no such argument.
            ValueError: one is out of range.
        """
        given = self._given(arguments)
        return apply(self._limited(given), self._shifts(given))

    def make_games(self, n_envs: int, **arguments: Any) -> Games:
        """A batch of games, shifted as one.

        Raises:
            TypeError: as for one environment, like the other.
            ValueError: see there.
        """
        given = self._given(arguments)
        if self.batch is None:
            games: Games = SyncGames([partial(self._limited, given)] * n_envs, self.name)
        else:
            own = {name: given[name] for name in (*self.physics, "episode_limit", "render_mode")}
            games = self.batch(n_envs, **own)
        return apply_games(games, self._shifts(given))

    def _given(self, arguments: dict[str, Any]) -> dict[str, Any]:
        bound = self.__signature__.bind(**arguments)
        bound.apply_defaults()
        return bound.arguments

    def _limited(self, given: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
        physics = {name: given[name] for name in self.physics}
        return limited(self.env(**physics, render_mode=given["render_mode"]), given["episode_limit"])

    def _shifts(self, given: Mapping[str, Any]) -> Shifts:
        offset, scale = given.get("offset"), check_reward_scale(given["reward_scale"])
        if offset is None and self.offset == "always":
            offset = 0.0
        moved: Shifts = () if offset is None else (("observation_offset", {"offset": offset}),)
        return moved if scale == 1 else (*moved, ("reward_scale", {"scale": scale}))
