"""The stability gap (De Lange et al., ICLR 2023, arXiv 2205.13452): what happens to earlier tasks between evaluations
that are usually reported.

A is the score of a task at an evaluation. Average the episodes of an evaluation before taking minima, and play the same
ones each time; else these measure the luck of episodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from crl.metrics.performance import mean_of_last
from crl.metrics.scores import Numbers, Scores, Segment, average, in_order, visits_of

WINDOW = 10  # evaluations; the paper's


def worst_since_trained(scores: Scores, segments: Sequence[Segment]) -> dict[str, float]:
    """The terms of min-ACC: each task's lowest score since its training last ended, up to the end of the stream.

    Args:
        scores: of the run.
        segments: of its stream, or of a beginning of it.

    Returns:
        Task -> score, without the task of the last segment, whose training has just ended.
    """
    *_, present = in_order(segments)
    found = {}
    for task, visits in visits_of(segments).items():
        if task != present.task and task in scores.tasks:
            _, values = scores.within(Segment(task, visits[-1].stop, present.stop))
            found[task] = float(values.min()) if len(values) else math.nan
    return found


def min_acc(scores: Scores, segments: Sequence[Segment]) -> list[float]:
    """min-ACC: mean over earlier tasks of the worst score that they had since their training ended.

    Of a task that has come several times it is the last visit that counts, which the paper, whose tasks come once,
    leaves open.

    Returns:
        One for the end of each segment; nan where no other task came before.
    """
    return [average(worst_since_trained(scores, segments[: count + 1])) for count in range(len(in_order(segments)))]


def wc_acc(scores: Scores, segments: Sequence[Segment]) -> list[float]:
    """WC-ACC: ``A(E_k, f_t) / k + (1 - 1/k) min-ACC``, k being the number of tasks till now.

    Returns:
        One for the end of each segment.
    """
    found = []
    for count, (segment, worst) in enumerate(zip(segments, min_acc(scores, segments), strict=True), start=1):
        known = len({each.task for each in segments[:count]} & {*scores.tasks})
        present = mean_of_last(scores.within(segment)[1], 1)
        found.append(present / known + (1 - 1 / known) * worst if known > 1 else present)
    return found


class Gap(NamedTuple):
    """What a segment does to an earlier task.

    Attributes:
        task: the earlier one.
        segment: index of the segment.
        depth: last score before the segment less the lowest in it; negative where the task has only gained.
        recovery: steps from the segment's start until the score is back behind its lowest; 0 where it never fell, and
            infinite where it does not come back.
    """

    task: str
    segment: int
    depth: float
    recovery: float


def stability_gaps(scores: Scores, segments: Sequence[Segment]) -> list[Gap]:
    """Depth and recovery time of each earlier task in each segment in which it was evaluated."""
    found = []
    for index, segment in enumerate(in_order(segments)):
        others = {*scores.tasks} - {segment.task}
        for task in dict.fromkeys(each.task for each in segments[:index] if each.task in others):
            before = scores.until(task, segment.start)
            steps, values = scores.within(segment, task)
            if len(values) and not math.isnan(before):
                lowest = int(values.argmin())
                back = steps[lowest:][values[lowest:] >= before]
                recovery = float(back[0] - segment.start) if len(back) else math.inf
                depth = before - float(values[lowest])
                found.append(Gap(task, index, depth, recovery if depth > 0 else 0.0))
    return found


def windowed_forgetting(scores: Scores, window: int = WINDOW) -> dict[str, float]:
    """WF of window D: a task's largest fall from one evaluation to a later one, both within D in a row.

    By the definition, at any time, its own training included. A task whose score never falls has 0.

    Args:
        scores: of the run; the paper evaluates 100 times.
        window: D, at least 2.

    Returns:
        Task -> fall; the paper's WF is their `average`.
    """
    return {task: _largest_rise(-scores.of(task)[1], window) for task in scores.tasks}


def windowed_plasticity(scores: Scores, window: int = WINDOW) -> dict[str, float]:
    """WP of window D: a task's largest rise from one evaluation to a later one, both within D in a row.

    By the definition. The official code passes over evaluations below the largest before them as beginnings of a rise:
    of .5, .1 and .9 it finds .4, where the rise is .8.

    Args:
        scores: of the run.
        window: D, at least 2.

    Returns:
        Task -> rise.
    """
    return {task: _largest_rise(scores.of(task)[1], window) for task in scores.tasks}


def _largest_rise(values: Numbers, window: int) -> float:
    if window < 2:
        raise ValueError(f"window is {window}; a change needs two evaluations, so give at least 2")
    if not len(values):
        return math.nan
    lags = range(1, min(window, len(values)))
    return max([0.0, *(float((values[lag:] - values[:-lag]).max()) for lag in lags)])
