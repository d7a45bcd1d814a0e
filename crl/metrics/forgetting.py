"""What an agent loses, or gains, in tasks that it has left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from crl.metrics.performance import mean_of_last
from crl.metrics.scores import Scores, Segment, in_order, visits_of


def forgetting(scores: Scores, segments: Sequence[Segment], last: int = 5) -> dict[str, float]:
    """Forgetting of Continual World (arXiv 2105.10919): score at the end of a task's own phase less its final score.

    Both are means of the last evaluations, as in its code (``results_processing/tables.py``): of the phase, and of the
    last segment. Where either has fewer, of those. That asks for evaluations in equal steps: where they are dense after
    a switch, five may be all of a visit, so take 1. A task that comes again is measured from its last visit; the last
    task of the stream has 0 by definition, and counts.

    Args:
        scores: of the run.
        segments: of its stream.
        last: how many evaluations are averaged; with 1 it is the paper's own formula.

    Returns:
        Task -> forgetting, positive where something was lost; nan where the phase or the last segment has none.
    """
    *_, end = in_order(segments)
    return {
        task: mean_of_last(scores.within(visits[-1])[1], last) - mean_of_last(scores.within(end, task)[1], last)
        for task, visits in visits_of(segments).items()
        if task in scores.tasks
    }


def backward_transfer(scores: Scores, segments: Sequence[Segment]) -> dict[str, float]:
    """Backward transfer: final score less the one at the end of a task's first visit.

    That of GEM (arXiv 1706.08840, Eq. 3), which has no term for the last task: here neither has a task whose first
    visit ends the stream. For pairs of tasks see `task_transfer`.

    Returns:
        Task -> transfer, positive where training on other tasks has helped.
    """
    *_, end = in_order(segments)
    return {
        task: scores.until(task, end.stop) - mean_of_last(scores.within(first)[1], 1)
        for task, (first, *_) in visits_of(segments).items()
        if task in scores.tasks and first.stop < end.stop
    }


def isolated_forgetting(
    scores: Scores, segments: Sequence[Segment], scales: Mapping[str, float] | None = None
) -> dict[str, dict[int, float]]:
    """Isolated forgetting of CORA (arXiv 2110.10067): what each later task has taken, as a share of a task's scale.

    The last score before the later segment less the last one in it, over the scale.

    Args:
        scores: of the run.
        segments: of its stream.
        scales: task -> largest absolute return, which CORA takes over all runs that it compares; left out, that of
            this run.

    Returns:
        Task -> index of each segment of another task behind its first visit -> forgetting.
    """
    found: dict[str, dict[int, float]] = {}
    for task, visits in visits_of(segments).items():
        if task in scores.tasks:
            scale = scale_of(scores, task, scales)
            found[task] = {
                index: (scores.until(task, segment.start) - mean_of_last(scores.within(segment, task)[1], 1)) / scale
                for index, segment in enumerate(segments)
                if segment.task != task and segment.start >= visits[0].stop
            }
    return found


def scale_of(scores: Scores, task: str, scales: Mapping[str, float] | None) -> float:
    """What CORA divides by: a task's largest absolute return; nan where that is nothing."""
    values = np.abs(scores.of(task)[1])
    largest = scales[task] if scales is not None else float(values.max()) if len(values) else math.nan
    return largest if largest > 0 else math.nan
