"""The worlds that tasks name: ours, and those that Gymnasium makes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import gymnasium

from envs.catalogue import ABOUT, CONTROL, GAMES, PROCGEN_GAMES, STREAMS, TASKS, is_game
from envs.checks import check_argument, did_you_mean
from envs.games import Games
from envs.state import json_value


@dataclass(frozen=True, eq=False)
class _World:
    """What makes the games of a task, see ``envs.task.World``: a value, equal where name and arguments are."""

    id: str
    arguments: Mapping[str, Any]

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, type(self)):
            return self is other
        # Arrays among the arguments do not tell by themselves whether they are equal.
        return self.id == other.id and json_value(self.arguments) == json_value(other.arguments)


class Known(_World):
    """A world of ours: a game, a control task, or one of MuJoCo's or envpool's."""

    @property
    def in_place(self) -> dict[str, Any]:
        """The arguments that games can change while they are played."""
        return {key: value for key, value in self.arguments.items() if key in TASKS[self.id].resolve().in_place}

    def plays_as(self, other: object) -> bool:
        """Whether games of ``other`` become this world's by ``configure(**in_place)``."""
        return isinstance(other, Known) and self.id == other.id and self._fixed == other._fixed

    @property
    def _fixed(self) -> Any:
        """What tells this world from those whose games become its own: the other arguments, and which there are."""
        return set(self.arguments), json_value(
            {key: self.arguments[key] for key in self.arguments.keys() - self.in_place}
        )

    @property
    def action_meanings(self) -> tuple[str, ...]:
        """What each of its Discrete actions means; empty where its record does not say."""
        return tuple(getattr(TASKS[self.id].resolve(), "action_meanings", ()))

    def __call__(self, **options: Any) -> gymnasium.Env[Any, Any]:
        env: gymnasium.Env[Any, Any] = TASKS[self.id].resolve()(**self.arguments, **options)
        return env

    def make_games(self, n_envs: int, **options: Any) -> Games:
        """A batch, compiled or vectorised where there is one of that kind."""
        games: Games = TASKS[self.id].resolve().make_games(n_envs, **self.arguments, **options)
        return games


class Registered(_World):
    """A world that Gymnasium makes."""

    def __call__(self, **options: Any) -> gymnasium.Env[Any, Any]:
        return gymnasium.make(self.id, disable_env_checker=True, **self.arguments, **options)


def world_of(id: str, arguments: dict[str, Any], episode_limit: int) -> Known | Registered:
    """The world of a name with arguments; ``episode_limit`` is for MinAtar games that have none of their own.

    Raises:
        ValueError: the name is unknown, or it does not take an argument.
    """
    if id not in TASKS:
        _require_registered(id)
        return Registered(id, arguments)
    known = TASKS[id].resolve().arguments
    for key in sorted(arguments):
        check_argument(f"the task {id!r}", key, known, ABOUT)
    return Known(id, {"episode_limit": episode_limit} | arguments if is_game(id) else arguments)


def _require_registered(name: str) -> None:
    """Refuse what Gymnasium cannot make, after importing the module that ``name`` may begin with."""
    module, colon, id = name.rpartition(":")
    if colon:
        try:
            import_module(module)
        except Exception as error:  # the module is a user's, and anything may go wrong in it
            raise ValueError(
                f"the module {module!r} of task {name!r} cannot be imported ({type(error).__name__}: {error}); "
                "install it, or correct it or its name"
            ) from error
    if id in gymnasium.registry:
        return
    if name in STREAMS:
        remedy = "give it alone" if STREAMS[name].worlds else "list its games instead"
        raise ValueError(f"{name!r} is a stream and cannot be one task among others; {remedy}")
    if (game := name.lower()) in TASKS or (game := _atari_name(id)) in TASKS:
        raise ValueError(f"unknown task {name!r}; did you mean {game!r}?")
    known = [f"{module}{colon}{known}" for known in gymnasium.registry]
    remedy = did_you_mean(name, [*known, *STREAMS, *TASKS]) or (
        f"; give a game ({', '.join(GAMES)}), a control task ({', '.join(CONTROL)}), a ProcGen game with _easy or "
        f"_hard behind it ({', '.join(PROCGEN_GAMES)}), one of Atari's (atari/pong), of DeepMind Control's "
        "(dmc/walker-walk) or of Meta-World's (metaworld/hammer), a stream of envs.catalogue.STREAMS, or a registered "
        "Gymnasium id, with its module in front ('my_pkg:MyEnv-v0') where importing that registers it"
    )
    raise ValueError(f"unknown task {name!r}{remedy}")


def _atari_name(id: str) -> str:
    """What a game of Atari's is called here, from Gym's or Gymnasium's id, such as ``ALE/SpaceInvaders-v5``."""
    words = re.sub(r"(NoFrameskip)?-v\d+$", "", id.rpartition("/")[2])
    return f"atari/{re.sub(r'(?<!^)(?=[A-Z])', '_', words).lower()}"
