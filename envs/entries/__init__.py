"""What users write for tasks, and the tasks that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from envs.catalogue import EPISODE_LIMIT
from envs.drifting import check_drift
from envs.entries.draws import drawn, drawn_for_shift
from envs.entries.makers import Known, world_of
from envs.entries.parsing import label_of, parsed_from
from envs.task import Task, World

__all__ = ["Entry", "task_from", "tasks_from"]

Entry = str | Mapping[str, Any]
"""What a user writes for a task: a name, a Gymnasium id, or a mapping, see `tasks_from`."""


def tasks_from(
    entry: Entry, *, episode_limit: int = EPISODE_LIMIT, seed: int = 0, place: int = 0
) -> tuple[list[Task], int | None]:
    """The tasks that an entry stands for, and how long each visit of one lasts, None where it does not say.

    A mapping may have, beside ``id`` and the world's own arguments:

    - ``shifts``: a list of names of shifts, or mappings with ``name`` and arguments; the innermost first.
    - ``drift``: a mapping from an argument of the world, or ``shift.argument``, to a schedule of ``envs.drift``.
    - ``variants``: how many tasks this is. What is drawn is drawn for each anew.
    - ``steps``: of each visit.
    - ``actions``: a list of what each of the world's Discrete actions means.
    - ``name``: the task's; variants are called ``name#0``, ``name#1``, ...

    An argument may be drawn: {"uniform": [low, high]}, {"log_uniform": [low, high]}, {"normal": [mean, std]},
    {"integers": [low, high]} (both included) or {"choice": [...]}, with ``size`` for an array of them. The ``seed`` of
    a permutation that is left out is drawn, too.

    Args:
        entry: a MinAtar game ("breakout"), a control or MuJoCo task ("cartpole"), a registered Gymnasium id
            ("CartPole-v1", or "my_pkg:MyEnv-v0", which imports the module first), or such a mapping
            ({"id": "pendulum", "gravity": 5.0}).
        episode_limit: steps after which an unfinished MinAtar episode is truncated; other tasks have an argument of
            that name or keep Gymnasium's limit.
        seed: decides all draws, together with ``place``.
        place: the entry's place among others.

    Raises:
        ValueError: the entry is of another kind, a name is unknown, or something is given arguments that it does
            not take.

    >>> tasks, _ = tasks_from({"id": "breakout", "shifts": ["pixel_permutation"], "variants": 5000})
    >>> len(tasks), tasks[4999].name, tasks[0].shifts != tasks[1].shifts
    (5000, 'breakout+pixel_permutation#4999', True)
    """
    parsed = parsed_from(entry)
    several = parsed.variants is not None
    label = parsed.name or label_of(parsed, parsed.arguments, parsed.shifts)
    tasks: list[Task] = []
    for variant in range(parsed.variants or 1):
        # The key keeps these draws apart from those of the order and of a named stream.
        generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(3, place, variant)))
        arguments = {key: drawn(key, value, generator) for key, value in parsed.arguments.items()}
        shifts = [(name, drawn_for_shift(name, given, generator)) for name, given in parsed.shifts]
        name = f"{label}#{variant}" if several else parsed.name or label_of(parsed, arguments, shifts)
        world: World = world_of(parsed.id, arguments, episode_limit)
        if tasks and world == tasks[-1].world:
            world = tasks[-1].world  # one for all variants that differ in shifts alone
        tasks.append(Task(name, world, tuple(shifts), parsed.drift, label if several else None, parsed.actions))
    _check(tasks[0])  # the others are made or changed to when a stream looks at their spaces
    return tasks, parsed.steps


def task_from(entry: Entry, episode_limit: int = EPISODE_LIMIT) -> Task:
    """The one task that an entry stands for, see `tasks_from`.

    Raises:
        ValueError: as there, and if the entry has variants.
    """
    tasks, _ = tasks_from(entry, episode_limit=episode_limit)
    if tasks[0].variant_of is not None:
        raise ValueError(f"{entry!r} stands for {len(tasks)} variants of a task; leave out variants to have one")
    return tasks[0]


def _check(task: Task) -> None:
    """Let a world of ours refuse what is out of range, in words of its own, and what cannot drift."""
    if isinstance(task.world, Known):
        try:
            task.world.make_games(1).close()
        except ImportError as error:
            raise ValueError(f"task {task.name!r} cannot be made: {error}") from error
    check_drift(task)
