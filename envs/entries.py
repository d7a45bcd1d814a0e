"""What users write for tasks, and the tasks that it stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import gymnasium
import numpy as np

from envs.catalogue import (
    ABOUT,
    ARGUMENTS,
    CONTROL,
    DRAWS,
    EPISODE_LIMIT,
    GAMES,
    MUJOCO,
    SHIFTS,
    STREAMS,
    TASKS,
    is_draw,
    is_game,
)
from envs.checks import check_int, check_number, did_you_mean
from envs.drift import Drift, drift_from
from envs.games import Games
from envs.state import json_value
from envs.task import Task, World, check_drift

Entry = str | Mapping[str, Any]
"""What a user writes for a task: a name, a Gymnasium id, or a mapping with ``id``, keyword arguments and `ABOUT`."""

_Generator = np.random.Generator


def tasks_from(
    entry: Entry, *, episode_limit: int = EPISODE_LIMIT, seed: int = 0, place: int = 0
) -> tuple[list[Task], int | None]:
    """The tasks that an entry stands for, and how long each visit of one lasts, None where it does not say.

    A mapping may have, beside ``id`` and the world's own arguments:

    - ``shifts``: a list of names of shifts, or mappings with ``name`` and arguments; the innermost first.
    - ``drift``: a mapping from an argument of the world, or ``shift.argument``, to a schedule of ``envs.drift``.
    - ``variants``: how many tasks this is. What is drawn is drawn for each anew.
    - ``steps``: of each visit.
    - ``name``: the task's; variants are called ``name#0``, ``name#1``, ...

    An argument may be drawn: {"uniform": [low, high]}, {"log_uniform": [low, high]}, {"normal": [mean, std]},
    {"integers": [low, high]} (both included) or {"choice": [...]}, with ``size`` for an array of them. The ``seed`` of
    a permutation that is left out is drawn, too.

    Args:
        entry: A MinAtar game ("breakout"), a control or MuJoCo task ("cartpole"), a registered Gymnasium id
            ("CartPole-v1", or "my_pkg:MyEnv-v0", which imports the module first), or such a mapping
            ({"id": "pendulum", "gravity": 5.0}).
        episode_limit: Steps after which an unfinished MinAtar episode is truncated; other tasks have an argument of
            that name or keep Gymnasium's limit.
        seed: Decides all draws, together with ``place``.
        place: The entry's place among others.

    Raises:
        ValueError: If the entry is of another kind, a name is unknown, or something is given arguments that it does
            not take.

    >>> tasks, _ = tasks_from({"id": "breakout", "shifts": ["pixel_permutation"], "variants": 5000})
    >>> len(tasks), tasks[4999].name, tasks[0].shifts != tasks[1].shifts
    (5000, 'breakout+pixel_permutation#4999', True)
    """
    parsed = _parsed(entry)
    several = parsed.variants is not None
    label = parsed.name or _label(parsed, parsed.arguments, parsed.shifts)
    tasks: list[Task] = []
    for variant in range(parsed.variants or 1):
        # The key keeps these draws apart from those of the order and of a named stream.
        generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(3, place, variant)))
        arguments = {key: _drawn(key, value, generator) for key, value in parsed.arguments.items()}
        shifts = [(name, _shift_arguments(name, given, generator)) for name, given in parsed.shifts]
        name = f"{label}#{variant}" if several else parsed.name or _label(parsed, arguments, shifts)
        world: World = _world(parsed.id, arguments, episode_limit)
        if tasks and world == tasks[-1].world:
            world = tasks[-1].world  # one for all variants that differ in shifts alone
        tasks.append(Task(name, world, tuple(shifts), parsed.drift, label if several else None))
    _check(tasks)
    return tasks, parsed.steps


def task_from(entry: Entry, episode_limit: int = EPISODE_LIMIT) -> Task:
    """The one task that an entry stands for, see `tasks_from`.

    Raises:
        ValueError: As there, and if the entry has variants.
    """
    tasks, _ = tasks_from(entry, episode_limit=episode_limit)
    if tasks[0].variant_of is not None:
        raise ValueError(f"{entry!r} stands for {len(tasks)} variants of a task; leave out variants to have one")
    return tasks[0]


# ------------------------------------------------------------------ reading


@dataclass(frozen=True)
class _Parsed:
    id: str
    arguments: dict[str, Any]
    shifts: list[tuple[str, Mapping[str, Any]]]
    drift: Mapping[str, Drift]
    variants: int | None
    steps: int | None
    name: str | None


def _parsed(entry: object) -> _Parsed:
    given = _given(entry)
    id, name = given.pop("id"), given.pop("name", None)
    about = {key: given.pop(key, None) for key in ABOUT if key != "name"}
    if name is not None and not isinstance(name, str):
        raise ValueError(f"the name of task {id!r} must be text, got {name!r}; put it into quotes")
    counts = {
        key: None if about[key] is None else check_int(f"{key} of {id!r}", about[key], 1, "leave it out or give 10")
        for key in ("variants", "steps")
    }
    shifts = about["shifts"] if about["shifts"] is not None else []
    if not isinstance(shifts, list | tuple):
        raise ValueError(
            f"shifts of task {id!r} must be a list, got {shifts!r}; write [pixel_permutation] or "
            "[{name: reward_scale, scale: 0.5}]"
        )
    return _Parsed(id, given, [_shift(id, shift) for shift in shifts], _drifts(id, about["drift"]), **counts, name=name)


def _given(entry: object) -> dict[str, Any]:
    """An entry as a mapping with ``id``."""
    if isinstance(entry, str):
        return {"id": entry}
    if not isinstance(entry, Mapping):
        raise ValueError(
            f"a task must be a name or a mapping with an id, got {entry!r}; "
            "write 'breakout', 'CartPole-v1' or {'id': 'Pendulum-v1', 'g': 5.0}"
        )
    if not isinstance(entry.get("id"), str) or not all(isinstance(key, str) for key in entry):
        raise ValueError(
            f"a task given as a mapping needs an id and arguments by name, got {dict(entry)!r}; "
            "write {'id': 'Pendulum-v1', 'g': 5.0}"
        )
    return dict(entry)


def _shift(id: str, shift: object) -> tuple[str, Mapping[str, Any]]:
    given = {"name": shift} if isinstance(shift, str) else dict(shift) if isinstance(shift, Mapping) else {}
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise ValueError(
            f"a shift of task {id!r} must be a name or a mapping with one, got {shift!r}; write pixel_permutation or "
            "{name: reward_scale, scale: 0.5}"
        )
    if name not in SHIFTS:
        remedy = did_you_mean(name, SHIFTS) or f"; give one of {', '.join(SHIFTS)}"
        raise ValueError(f"unknown shift {name!r} of task {id!r}{remedy}")
    return name, json_value(given)


def _drifts(id: str, drift: object) -> dict[str, Drift]:
    if drift is None:
        return {}
    if not isinstance(drift, Mapping):
        raise ValueError(
            f"drift of task {id!r} must be a mapping from arguments to schedules, got {drift!r}; write "
            "{gravity: {kind: linear, start: 10, end: 2, steps: 100000}}"
        )
    found = {}
    for key, schedule in drift.items():
        try:
            found[str(key)] = drift_from(schedule)
        except ValueError as error:
            raise ValueError(f"drift of {key!r} in task {id!r}: {error}") from error
    return found


# ------------------------------------------------------------------ drawing


def _shift_arguments(name: str, given: Mapping[str, Any], generator: _Generator) -> dict[str, Any]:
    arguments = {key: _drawn(f"{name}.{key}", value, generator) for key, value in given.items()}
    drawn = SHIFTS[name].drawn
    if drawn is not None and not arguments:  # another argument may stand for it
        arguments[drawn] = int(generator.integers(2**32))
    return arguments


def _drawn(key: str, value: Any, generator: _Generator) -> Any:
    """The value of an argument, drawn where it says how."""
    if not is_draw(value):
        return value
    (kind,) = value.keys() - {"size"}
    size = value.get("size")
    if size is not None:
        check_int(f"size of {key}", size, 1, "give the number of values to draw")
    parameters = value[kind]
    if kind == "choice":
        if not isinstance(parameters, list | tuple) or not parameters:
            raise ValueError(f"{key} is drawn by choice of {parameters!r}; give a list of values to choose from")
        picks = generator.integers(len(parameters), size=size)
        return parameters[picks] if size is None else [parameters[pick] for pick in picks]
    first, second = _two(key, kind, parameters)
    try:
        return np.asarray(_DRAWS[kind](generator, first, second, size)).tolist()
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{key} is drawn as {kind} of {parameters!r}; give smaller numbers") from error


def _two(key: str, kind: str, parameters: Any) -> tuple[float, float]:
    if not isinstance(parameters, list | tuple) or len(parameters) != 2:
        raise ValueError(f"{key} is drawn as {kind} of {parameters!r}; give two numbers, {DRAWS[kind]}")
    first, second = (check_number(f"{kind} of {key}", each, DRAWS[kind]) for each in parameters)
    low = 0.0 if kind == "normal" else first  # the second is a standard deviation there
    if second < low or (kind == "log_uniform" and first <= 0) or (kind == "integers" and first % 1 + second % 1):
        raise ValueError(f"{key} is drawn as {kind} of {parameters!r}; give two numbers, {DRAWS[kind]}")
    return first, second


_DRAWS: Mapping[str, Callable[..., Any]] = {
    "uniform": lambda generator, low, high, size: generator.uniform(low, high, size),
    "log_uniform": lambda generator, low, high, size: np.exp(generator.uniform(np.log(low), np.log(high), size)),
    "normal": lambda generator, mean, std, size: generator.normal(mean, std, size),
    "integers": lambda generator, low, high, size: generator.integers(int(low), int(high), size, endpoint=True),
}


# ------------------------------------------------------------------ naming and making


def _label(parsed: _Parsed, arguments: Mapping[str, Any], shifts: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """What a task is called that has no name: ``breakout(episode_limit=4)+reward_scale(scale=0.5)~gravity``."""
    parts = [_call(parsed.id, arguments), *(_call(name, given) for name, given in shifts)]
    return "".join(["+".join(parts), *(f"~{key}" for key in parsed.drift)])


def _call(name: str, arguments: Mapping[str, Any]) -> str:
    shown = (f"{key}={'*' if is_draw(value) else repr(json_value(value))}" for key, value in sorted(arguments.items()))
    return f"{name}({', '.join(shown)})" if arguments else name


@dataclass(frozen=True, eq=False)
class _World:
    id: str
    arguments: Mapping[str, Any]

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, type(self)):
            return self is other
        # Arrays among the arguments do not tell by themselves whether they are equal.
        return self.id == other.id and json_value(self.arguments) == json_value(other.arguments)


class _Known(_World):
    """A world of ours: a game, a control task or one of MuJoCo."""

    def __call__(self, **options: Any) -> gymnasium.Env[Any, Any]:
        env: gymnasium.Env[Any, Any] = _maker(self.id).WORLDS[self.id](**self.arguments, **options)
        return env

    def make_games(self, n_envs: int, **options: Any) -> Games:
        games: Games = _maker(self.id).make_games(self.id, n_envs, **self.arguments, **options)
        return games


class _Registered(_World):
    """A world that Gymnasium makes."""

    def __call__(self, **options: Any) -> gymnasium.Env[Any, Any]:
        return gymnasium.make(self.id, disable_env_checker=True, **self.arguments, **options)


def _maker(id: str) -> Any:
    """The module with the ``WORLDS`` and ``make_games`` for a world of ours."""
    kinds = {"envs.minatar": GAMES, "envs.control": CONTROL, "envs.mujoco": MUJOCO}
    return import_module(next(module for module, ids in kinds.items() if id in ids))


def _world(id: str, arguments: dict[str, Any], episode_limit: int) -> _Known | _Registered:
    if id not in ARGUMENTS:
        _require_registered(id)
        return _Registered(id, arguments)
    for key in sorted(arguments):
        if key not in ARGUMENTS[id]:
            known = ARGUMENTS[id]
            raise ValueError(
                f"the task {id!r} takes no argument {key!r}, only {', '.join(known)}"
                f"{did_you_mean(key, (*known, *ABOUT)) or '; remove it'}"
            )
    return _Known(id, {"episode_limit": episode_limit} | arguments if is_game(id) else arguments)


def _check(tasks: Sequence[Task]) -> None:
    """Let worlds of ours refuse what is out of range, in words of their own; variants may share a world."""
    seen: object = None
    for task in tasks:
        if isinstance(task.world, _Known) and task.world != seen:
            seen = task.world
            try:
                task.world.make_games(1).close()
            except ImportError as error:
                raise ValueError(f"task {task.name!r} cannot be made: {error}") from error
    check_drift(tasks[0])  # its schedules are the same in all variants


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
