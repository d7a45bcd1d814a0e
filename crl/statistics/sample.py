"""The scores of a method's runs, in a record that knows its axes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


class Sample:
    """The score of each seed in each task.

    A matrix does not say which of its axes are the seeds, so none is taken: both have names. Scores of several tasks
    are put together by aggregates, so they must be on one scale, such as shares of an oracle's return.

    Args:
        scores: seed -> task -> score.

    Attributes:
        seeds: in rising order.
        tasks: in the order in which the first seed has them.
        values: (seeds, tasks).

    Raises:
        ValueError: the scores are a matrix or lie the other way round, there is none, a seed lacks a task, or one is
            not finite.

    >>> Sample({1: {"breakout": 8.0}, 0: {"breakout": 7.0}}).values.tolist()
    [[7.0], [8.0]]
    """

    def __init__(self, scores: Mapping[int, Mapping[str, float]]) -> None:
        if not isinstance(scores, Mapping) or not all(isinstance(each, Mapping) for each in scores.values()):
            raise ValueError(
                "a matrix of scores does not say which of its axes are the seeds; give a mapping from each seed to one "
                "from each task to its score"
            )
        for seed in scores:
            if not isinstance(seed, int | np.integer):
                raise ValueError(
                    f"{seed!r} is no seed, which is a whole number; give seed -> task -> score, in this order"
                )
        self.seeds = tuple(sorted(scores))
        self.tasks = tuple(scores[self.seeds[0]]) if self.seeds else ()
        if not self.tasks:
            raise ValueError("a sample has at least one seed and one task; give the score of one")
        for seed in self.seeds:
            if {*scores[seed]} != {*self.tasks}:
                raise ValueError(
                    f"seed {seed} has scores of {', '.join(scores[seed]) or 'no task'}, and seed {self.seeds[0]} of "
                    f"{', '.join(self.tasks)}; give each seed one for each task"
                )
        self.values: Numbers = np.array(
            [[scores[seed][task] for task in self.tasks] for seed in self.seeds], dtype=float
        )
        if not np.isfinite(self.values).all():
            raise ValueError("a score is not finite; leave out the tasks that have none for some seed")

    def only(self, seeds: tuple[int, ...]) -> Sample:
        """The scores of some of its seeds."""
        return Sample(
            {
                seed: dict(zip(self.tasks, row, strict=True))
                for seed, row in zip(self.seeds, self.values.tolist(), strict=True)
                if seed in seeds
            }
        )
