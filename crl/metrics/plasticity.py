"""Whether an agent can still learn: against a fresh one, and against itself when it met the task first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from crl.metrics.performance import mean_of_last
from crl.metrics.scores import Scores, Segment, area, in_order, visits_of

NO_BASELINES: Mapping[str, float] = {}


def plasticity(
    scores: Scores, oracle: Scores, segments: Sequence[Segment], baselines: Mapping[str, float] = NO_BASELINES
) -> list[float]:
    """Plasticity: area under the curve of each visit over that of the oracle, a fresh agent with as many steps.

    C-CHAIN (arXiv 2506.00592) divides by its oracle in this way. See `slope` for how it changes over visits.

    Args:
        scores: of the run.
        oracle: those of a run of the same stream whose agent is made anew for each segment.
        segments: of the stream.
        baselines: task -> return that counts as nothing, such as that of random play; 0 where left out. Returns that
            are negative need one, as a ratio of them would be upside down.

    Returns:
        One for each segment: 1 is as good as fresh; nan where the oracle's area is not above the baseline.
    """
    found = []
    for segment in in_order(segments):
        nothing = baselines.get(segment.task, 0.0)
        fresh = area(oracle, segment) - nothing
        found.append((area(scores, segment) - nothing) / fresh if fresh > 0 else math.nan)
    return found


def slope(values: Sequence[float]) -> float:
    """Least-squares slope of numbers over their places, such as of `plasticity` per visit; nan of fewer than two."""
    numbers = np.array(values, dtype=float)
    places = np.flatnonzero(~np.isnan(numbers)).astype(float)
    if len(places) < 2:
        return math.nan
    away = places - places.mean()
    return float((away * numbers[~np.isnan(numbers)]).sum() / (away**2).sum())


def relearning_times(
    scores: Scores,
    segments: Sequence[Segment],
    share: float = 0.9,
    last: int = 1,
    baselines: Mapping[str, float] = NO_BASELINES,
) -> dict[str, list[float]]:
    """Relearning time: steps into each later visit until a task is back near the end level of its first visit.

    Args:
        scores: of the run.
        segments: of its stream.
        share: of the way from the baseline to that level.
        last: how many evaluations at the end of the first visit are averaged to that level.
        baselines: see `plasticity`.

    Returns:
        Task that comes again -> steps to the first evaluation that reaches it, for each later visit; infinite where
        none does, and nan where the first visit did not come above the baseline.
    """
    found: dict[str, list[float]] = {}
    for task, (first, *later) in visits_of(segments).items():
        if not later or task not in scores.tasks:
            continue
        nothing = baselines.get(task, 0.0)
        gain = mean_of_last(scores.within(first)[1], last) - nothing
        found[task] = [_time_to(scores, visit, nothing + share * gain) if gain > 0 else math.nan for visit in later]
    return found


def _time_to(scores: Scores, segment: Segment, level: float) -> float:
    steps, values = scores.within(segment)
    reached = steps[values >= level]
    return float(reached[0] - segment.start) if len(reached) else math.inf
