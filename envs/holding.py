"""What is drawn for a segment of a stream, and tasks whose drift is held still where a segment stands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from envs.drift import Drift, Linear
from envs.task import Task

DRIFT, REBUILD = 1, 2  # keys that keep the draws for these apart from those of the games


def seeds_of(seed: int, segment: int, count: int, *key: int) -> list[int]:
    """Seeds for a segment, drawn from its stream's; others for every ``key``."""
    drawn: list[int] = np.random.SeedSequence((seed, segment), spawn_key=key).generate_state(count).tolist()
    return drawn


def begun(drift: Drift, place: int, seed: int, segment: int) -> Drift:
    """A drift as it runs in a segment.

    Args:
        drift: of the segment's task.
        place: among all of the task.
        seed: of the stream.
        segment: index.
    """
    return drift.begin(seeds_of(seed, segment, 1, DRIFT, place)[0])


def held(task: Task, passed: int = 0, *, seed: int = 0, segment: int = 0) -> Task:
    """A task in which nothing drifts any more: each argument stays as it is at one step of a segment.

    Args:
        task: that is played there.
        passed: steps since the segment began.
        seed: of the stream.
        segment: index.

    >>> from envs.entries import task_from
    >>> drift = {"gravity": {"kind": "linear", "start": 10, "end": 2, "steps": 100}}
    >>> held(task_from({"id": "cartpole", "drift": drift}), 50).drift["gravity"].value(1000)
    6.0
    """
    drift: dict[str, Drift] = {}
    for place, (key, each) in enumerate(task.drift.items()):
        value = begun(each, place, seed, segment).value(passed)
        drift[key] = Linear(start=value, end=value, steps=1)
    return replace(task, drift=drift) if drift else task
