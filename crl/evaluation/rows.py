"""Evaluations as rows of a table, and what a plan of them plays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import envs
from agents.learner import LearnerMixin
from crl.config import RunConfig
from crl.evaluation.playing import Episodes, play, seed_of, tasks_of
from envs.drifting import held

Row = dict[str, Any]
"""Column -> value, see `crl.evaluation`."""


def places_of(config: RunConfig, stream: envs.TaskStream) -> list[int]:
    """Which tasks of a run are evaluated, by their places in its stream."""
    seed = config.seed if config.stream.seed is None else config.stream.seed
    return tasks_of(stream, config.evaluation.tasks, seed)


def rows(
    learner: LearnerMixin, config: RunConfig, stream: envs.TaskStream, places: Sequence[int], step: int
) -> Iterator[Row]:
    """Evaluate an agent: a row for each task.

    Args:
        learner: that plays.
        config: of the run: how it plays, and its seed.
        stream: that it learns from, in the lengths in which it is played.
        places: of the tasks in the stream.
        step: how much of it the learner has seen.
    """
    step = min(step, stream.total_steps or step)
    segment = _segment(stream, step)
    for place in places:
        world = world_at(config, stream, place, step)
        yield _row(step, segment, world, play(learner, world, seed_of(config.seed, place), config.evaluation))


def world_at(config: RunConfig, stream: envs.TaskStream, place: int, step: int) -> envs.Task:
    """A task as it is played in evaluations: what drifts is held still.

    In the task that was played last it is held where it stands after so many steps, in others where a visit begins.
    """
    task, segment = stream.tasks[place], _segment(stream, step)
    if place != segment.task_index:
        return held(task)
    return held(task, step - segment.start, seed=config.seed, segment=segment.index)


def _segment(stream: envs.TaskStream, step: int) -> envs.Segment:
    """That the last of so many steps was in."""
    return stream.segment(stream.at(max(step - 1, 0)))


def _row(step: int, segment: envs.Segment, task: envs.Task, episodes: Episodes) -> Row:
    returns = np.array(episodes.returns)
    return {
        "step": step,
        "segment": segment.index,
        "training": segment.task.name,
        "task": task.name,
        "family": task.family,
        "episodes": len(returns),
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "return_min": float(returns.min()),
        "return_max": float(returns.max()),
        "length_mean": float(np.mean(episodes.lengths)),
        "cut": episodes.cut,
    }
