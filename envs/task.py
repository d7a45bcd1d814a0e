"""Tasks: a name and how to make the environments of one world."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from envs import control
from envs.catalogue import ARGUMENTS, CONTROL, EPISODE_LIMIT, GAMES, STREAMS, TASKS
from envs.checks import check_int, did_you_mean
from envs.minatar import MinAtarEnv

Entry = str | Mapping[str, Any]
"""What a user writes for a task: a name, a Gymnasium id, or a mapping with ``id`` and keyword arguments."""


@dataclass(frozen=True)
class Task:
    """One world: its name, and a factory that makes one fresh environment per call.

    Tasks of a stream are told apart by name; two tasks are equal if name and factory are.
    """

    name: str
    factory: Callable[[], gymnasium.Env[Any, Any]] = field(hash=False)

    def make_env(self) -> gymnasium.Env[Any, Any]:
        """One environment of this task."""
        return self.factory()

    def make_vec(self, n_envs: int) -> SyncVectorEnv[Any, Any]:
        """``n_envs`` environments of this task as one batch, each reset in the step that ends its episode."""
        # Observations are copied, because SB3 stores the previous ones after it has taken the next step.
        return SyncVectorEnv([self.factory] * n_envs, copy=True, autoreset_mode=AutoresetMode.SAME_STEP)


@contextmanager
def making(task: Task) -> Iterator[None]:
    """Turn whatever goes wrong while environments of ``task`` are made into a ValueError that names it."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"task {task.name!r} cannot be made ({type(error).__name__}: {error}); "
            "check its arguments and that what it needs is installed"
        ) from error


@dataclass(frozen=True)
class _GameFactory:
    game: str
    episode_limit: int

    def __call__(self) -> gymnasium.Env[Any, Any]:
        return MinAtarEnv(self.game, self.episode_limit)


@dataclass(frozen=True)
class _ControlFactory:
    task: str
    kwargs: Mapping[str, Any]

    def __call__(self) -> gymnasium.Env[Any, Any]:
        return control.WORLDS[self.task](**self.kwargs)


@dataclass(frozen=True)
class _GymnasiumFactory:
    id: str
    kwargs: Mapping[str, Any]

    def __call__(self) -> gymnasium.Env[Any, Any]:
        return gymnasium.make(self.id, disable_env_checker=True, **self.kwargs)


def task_from(entry: Entry, episode_limit: int = EPISODE_LIMIT) -> Task:
    """The task that ``entry`` stands for.

    Args:
        entry: A MinAtar game ("breakout"), a control task ("cartpole"), a registered Gymnasium id ("CartPole-v1", or
            "my_pkg:MyEnv-v0", which imports the module first), or a mapping with ``id`` and keyword arguments
            ({"id": "pendulum", "gravity": 5.0}). A game takes ``episode_limit`` as its only argument, a control task
            those of its function in ``envs.control``.
        episode_limit: Steps after which an unfinished MinAtar episode is truncated; control tasks have an argument of
            that name, and Gymnasium ids keep their own limit.

    Raises:
        ValueError: If the entry is of another kind, the name is unknown, or a game or a control task is given arguments
            that it does not take.
    """
    name, kwargs = _split(entry)
    label = f"{name}({', '.join(f'{key}={kwargs[key]!r}' for key in sorted(kwargs))})" if kwargs else name
    if name in GAMES:
        return Task(label, _game_factory(name, {"episode_limit": episode_limit} | kwargs))
    if name in CONTROL:
        return Task(label, _control_factory(name, kwargs))
    _require_registered(name)
    return Task(label, _GymnasiumFactory(name, kwargs))


def _split(entry: object) -> tuple[str, dict[str, Any]]:
    """The name and the keyword arguments of an entry."""
    if isinstance(entry, str):
        return entry, {}
    if not isinstance(entry, Mapping):
        raise ValueError(
            f"a task must be a name or a mapping with an id, got {entry!r}; "
            "write 'breakout', 'CartPole-v1' or {'id': 'Pendulum-v1', 'g': 5.0}"
        )
    kwargs = dict(entry)
    name = kwargs.pop("id", None)
    if not isinstance(name, str) or not all(isinstance(key, str) for key in kwargs):
        raise ValueError(
            f"a task given as a mapping needs an id and arguments by name, got {dict(entry)!r}; "
            "write {'id': 'Pendulum-v1', 'g': 5.0}"
        )
    return name, kwargs


def _game_factory(game: str, kwargs: dict[str, Any]) -> _GameFactory:
    limit = check_int("episode_limit", kwargs.pop("episode_limit"), 1, "give a number of steps such as 2500")
    if kwargs:
        raise ValueError(
            f"the game {game!r} takes no argument {min(kwargs)!r}; remove it, only episode_limit can be given"
        )
    return _GameFactory(game, limit)


def _control_factory(task: str, kwargs: dict[str, Any]) -> _ControlFactory:
    known = ARGUMENTS[task]
    for key in sorted(kwargs):
        if key not in known:
            raise ValueError(
                f"the control task {task!r} takes no argument {key!r}, only {', '.join(known)}"
                f"{did_you_mean(key, known) or '; remove it'}"
            )
    factory = _ControlFactory(task, kwargs)
    factory().close()  # refuses what is out of range, in words of its own
    return factory


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
    known = [f"{module}{colon}{known}" for known in gymnasium.registry]
    remedy = did_you_mean(name, [*known, *STREAMS, *TASKS]) or (
        f"; give a game ({', '.join(GAMES)}), a stream ({', '.join(STREAMS)}), a control task ({', '.join(CONTROL)}) "
        "or a registered Gymnasium id, with its module in front ('my_pkg:MyEnv-v0') where importing that registers it"
    )
    raise ValueError(f"unknown task {name!r}{remedy}")
