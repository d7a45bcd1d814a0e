"""What a run was worth in every task and when, in records that know their axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]


class Segment(NamedTuple):
    """One visit of a task.

    Attributes:
        task: its name.
        start: steps of training before it.
        stop: steps of training at its end; an evaluation at this step is its last, and none of the next segment's.
    """

    task: str
    start: float
    stop: float


class Scores:
    """The score of every task at each evaluation of a run.

    A matrix does not say which of its axes are the tasks, and a transposed one gives numbers that look right. So none
    is taken: the scores of each task come under its name, and must be as many as there are evaluations. Of a matrix
    (evaluations, tasks) these are ``dict(zip(tasks, matrix.T, strict=True))``.

    Args:
        steps: of training before each evaluation, rising.
        scores: task -> its score at each evaluation, nan where it was not evaluated then.

    Attributes:
        steps: (evaluations,).
        tasks: their names, in the order in which they were given.
        columns: task -> (evaluations,).

    Raises:
        ValueError: the scores are a matrix or fit one that is transposed, the steps do not rise, or a number is
            infinite.

    >>> Scores([0, 100], {"breakout": [0.5, 8.0], "asterix": [0.5, 0.5]}).tasks
    ('breakout', 'asterix')
    """

    def __init__(self, steps: ArrayLike, scores: Mapping[str, ArrayLike]) -> None:
        if not isinstance(scores, Mapping):
            raise ValueError(
                "a matrix of scores does not say which of its axes are the tasks; give a mapping from each task to its "
                "scores, such as dict(zip(tasks, matrix.T)) where the rows are evaluations"
            )
        times = np.array(steps, dtype=float)
        if times.ndim != 1 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise ValueError(
                "steps do not rise from evaluation to evaluation; give one finite number for each, in order"
            )
        columns = {task: np.array(column, dtype=float) for task, column in scores.items()}
        for task, column in columns.items():
            if column.shape != times.shape:
                raise ValueError(
                    f"task {task!r} has scores of shape {column.shape} at {len(times)} evaluations; give one for each "
                    "evaluation, and transpose the matrix if they come from one"
                )
            if np.isinf(column).any():
                raise ValueError(f"task {task!r} has a score that is infinite; give nan where there is none")
        self.steps: Numbers = times
        self.columns: Mapping[str, Numbers] = columns
        self.tasks = tuple(columns)

    def of(self, task: str) -> tuple[Numbers, Numbers]:
        """Steps and scores of the evaluations in which a task was played; none of a task that never was."""
        column = self.columns.get(task, np.full_like(self.steps, np.nan))
        known = ~np.isnan(column)
        return self.steps[known], column[known]

    def within(self, segment: Segment, task: str | None = None) -> tuple[Numbers, Numbers]:
        """Steps and scores of a task, that of the segment if none is given, after its start and up to its stop."""
        steps, scores = self.of(segment.task if task is None else task)
        inside = (steps > segment.start) & (steps <= segment.stop)
        return steps[inside], scores[inside]

    def until(self, task: str, step: float) -> float:
        """The last score of a task at or before a step, nan if there is none."""
        steps, scores = self.of(task)
        count = int(np.searchsorted(steps, step, side="right"))
        return float(scores[count - 1]) if count else math.nan

    def since(self, task: str, step: float) -> float:
        """The first score of a task at or behind a step, nan if there is none."""
        steps, scores = self.of(task)
        place = int(np.searchsorted(steps, step))
        return float(scores[place]) if place < len(scores) else math.nan


def area(scores: Scores, segment: Segment) -> float:
    """Area under the curve of a segment's task within the segment, over its length: the mean score over its time.

    Between evaluations the curve is a straight line, and beyond the first and last one it goes on level.

    Returns:
        The mean; nan where the task was not evaluated within the segment, whose curve would be made up.
    """
    if not len(scores.within(segment)[0]):
        return math.nan
    steps, values = scores.of(segment.task)
    inside = steps[(steps > segment.start) & (steps < segment.stop)]
    at = np.concatenate([[segment.start], inside, [segment.stop]])
    curve = np.interp(at, steps, values)
    return float((np.diff(at) * (curve[1:] + curve[:-1]) / 2).sum() / (segment.stop - segment.start))


def average(values: Mapping[Any, float] | Iterable[float]) -> float:
    """Mean of the numbers that are defined; nan where none is."""
    found = [value for value in (values.values() if isinstance(values, Mapping) else values) if not math.isnan(value)]
    return float(np.mean(found)) if found else math.nan


def in_order(segments: Sequence[Segment]) -> Sequence[Segment]:
    """The segments of a stream, checked.

    Raises:
        ValueError: there is none, one has no length, or they overlap or do not come in order.
    """
    if not segments:
        raise ValueError("a stream has at least one segment; give what was trained when")
    for segment in segments:
        if not segment.start < segment.stop:
            raise ValueError(f"the segment of {segment.task!r} from {segment.start} to {segment.stop} has no length")
    for one, other in itertools.pairwise(segments):
        if other.start < one.stop:
            raise ValueError(
                f"the segment of {other.task!r} begins at {other.start}, before that of {one.task!r} ends at "
                f"{one.stop}; give the segments in the order of training"
            )
    return segments


def visits_of(segments: Sequence[Segment]) -> dict[str, list[Segment]]:
    """Task -> its segments, in the order of their first ones."""
    found: dict[str, list[Segment]] = {}
    for segment in in_order(segments):
        found.setdefault(segment.task, []).append(segment)
    return found
