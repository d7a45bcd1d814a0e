"""Evaluations as rows of a table, and what a plan of them plays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import envs
from agents.learner import LearnerMixin
from crl.config import RunConfig
from crl.evaluation.playing import Episodes, play, seed_of, tasks_of
from envs.holding import held

Row = dict[str, Any]
"""Column -> value, see `crl.evaluation`."""


def places_of(config: RunConfig, stream: envs.TaskStream) -> list[int]:
    """Which tasks of a run are evaluated, by their places in its stream."""
    seed = config.seed if config.stream.seed is None else config.stream.seed
    return tasks_of(stream, config.evaluation.tasks, seed)


def rows(
    learner: LearnerMixin, config: RunConfig, stream: envs.TaskStream, places: list[int], step: int
) -> Iterator[Row]:
    """Evaluate an agent: a row for each task.

    Args:
        learner: that plays.
        config: of the run: how it plays, and its seed.
        stream: that it learns from, in the lengths in which it is played.
        places: of the tasks in the stream.
        step: how much of it the learner has seen. What drifts is held where it stands then in the task that was played
            last, and in all others where a visit begins.
    """
    step = min(step, stream.total_steps or step)
    segment = stream.segment(stream.at(max(step - 1, 0)))
    for place in places:
        task = stream.tasks[place]
        if place == segment.task_index:
            world = held(task, step - segment.start, seed=config.seed, segment=segment.index)
        else:
            world = held(task)
        episodes = play(learner, world, seed_of(config.seed, place), config.evaluation)
        yield _row(step, segment, task, episodes)


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
