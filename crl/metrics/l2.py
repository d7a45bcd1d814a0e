"""Measures of lifelong learning of l2metrics (github.com/lifelong-learning-systems/l2metrics, 3.1.0).

It knows blocks of training and of testing in turn. Here an evaluation is a test, and the scores of training (returns of
episodes, or of evaluations of the task while it is trained) are sequences of *experiences*. Ratios and contrasts mean
nothing for negative returns: give `normalized` scores.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from crl.metrics.plasticity import slope
from crl.metrics.scores import Numbers, Scores, Segment, average, in_order, visits_of

LATE = 0.1  # share of a block of training whose mean is its terminal performance
SMOOTHED = 0.2  # share of a sequence that its moving average is over
LONGEST = 100  # experiences that it is over at most
LEAST_SATURATION = 0.2  # of the expert's, below which nothing was learnt


def ratio(after: float, before: float) -> float:
    """``after / before``; nan where that is not positive, as the ratio would be upside down or infinite."""
    return after / before if before > 0 else math.nan


def contrast(after: float, before: float) -> float:
    """``(after - before) / (after + before)``; nan where the sum is not positive."""
    return (after - before) / (after + before) if after + before > 0 else math.nan


def normalized(scores: Scores, ranges: Mapping[str, tuple[float, float]] | None = None) -> Scores:
    """Scores brought to 1 to 101, task by task.

    Args:
        scores: of a run.
        ranges: task -> the scores that become 1 and 101. Runs are comparable only under the same; left out, the lowest
            and the highest of this run. Where the two are equal, all become 1.
    """

    def scaled(task: str, column: Numbers) -> Numbers:
        known = scores.of(task)[1]
        low, high = ranges[task] if ranges is not None else (known.min(), known.max()) if len(known) else (0.0, 0.0)
        return 1 + 100 * (column - low) / (high - low if high > low else 1)

    return Scores(scores.steps, {task: scaled(task, column) for task, column in scores.columns.items()})


def terminal_performance(experiences: ArrayLike) -> float:
    """Mean of the last tenth of a block of training, at least of its last experience."""
    values = _known(experiences)
    return float(values[int((1 - LATE) * len(values)) :].mean()) if len(values) else math.nan


def performance_maintenance(
    scores: Scores, segments: Sequence[Segment], terminal: Sequence[float] | None = None
) -> dict[str, float]:
    """PM: mean difference between each later evaluation of a task and its most recent reference.

    The reference ("mrlep") is the first evaluation once a visit has ended, or ("mrtlp") the visit's terminal
    performance. References are no later evaluations, nor is what was evaluated during the task's own training.

    Args:
        scores: of the run.
        segments: of its stream.
        terminal: `terminal_performance` of each segment, which are then the references.

    Returns:
        Task -> mean difference, negative where something was lost; nan where there is no later evaluation.
    """
    places = {segment: place for place, segment in enumerate(in_order(segments))}
    found = {}
    for task, visits in visits_of(segments).items():
        if task not in scores.tasks:
            continue
        differences: list[float] = []
        for visit, following in itertools.zip_longest(visits, visits[1:]):
            until = math.inf if following is None else following.start
            steps, values = scores.of(task)
            tests = values[(steps >= visit.stop) & (steps <= until)]
            reference = float(tests[0]) if len(tests) else math.nan
            if terminal is not None:
                reference = terminal[places[visit]]
            differences += (tests[1:] - reference).tolist()
        found[task] = average(differences)
    return found


Pairs = dict[tuple[str, str], list[float]]


def task_transfer(
    scores: Scores, segments: Sequence[Segment], form: Callable[[float, float], float] = ratio
) -> tuple[Pairs, Pairs]:
    """Forward and backward transfer between pairs of tasks: tests of one around the training of the other.

    Args:
        scores: of the run, `normalized` as l2metrics has them.
        segments: of its stream.
        form: `ratio` (the default of its code) or `contrast` of the tests after and before.

    Returns:
        Forward transfer, by training before the tested task was ever trained, and backward transfer, by training
        after that: (trained, tested) -> one for each segment of the trained task. Of a ratio, above 1 is a gain.
    """
    forward: Pairs = {}
    backward: Pairs = {}
    visits = visits_of(segments)
    for tested, segment in itertools.product(scores.tasks, segments):
        if segment.task != tested:
            unseen = tested not in visits or segment.start < visits[tested][0].start
            value = form(scores.since(tested, segment.stop), scores.until(tested, segment.start))
            (forward if unseen else backward).setdefault((segment.task, tested), []).append(value)
    return forward, backward


def relative_performance(experiences: ArrayLike, expert: ArrayLike) -> float:
    """RP: sum of the scores of training over that of a single-task expert, at the length of the shorter one.

    Args:
        experiences: (experiences,), all of the task's visits one behind the other.
        expert: (experiences,), of an agent that trained on this task alone.

    Returns:
        The ratio; nan where the expert's sum is not positive.
    """
    ours, theirs = np.array(experiences, dtype=float), np.array(expert, dtype=float)
    length = min(len(ours), len(theirs))
    return ratio(float(np.nansum(ours[:length])), float(np.nansum(theirs[:length])))


def saturation(experiences: ArrayLike) -> tuple[float, int]:
    """The largest value of the moving average, and the first place at which it stands.

    The window is a fifth of the sequence, 100 at most, and goes on beyond its ends by reflection; below 3 nothing is
    smoothed. A maximum of noise is biased upwards: compare with sequences of the same kind alone.

    Returns:
        nan and 0 where there is no experience.
    """
    values = _known(experiences)
    width = min(int(SMOOTHED * len(values)), LONGEST)
    if width >= 3:
        smooth = np.convolve(np.pad(values, width - 1, mode="reflect"), np.full(width, 1 / width), mode="valid")
        first = width // 2 - 1  # experiences that the window reaches beyond each, as in its code
        values = smooth[first : first + len(values)]
    return (float(values.max()), int(values.argmax())) if len(values) else (math.nan, 0)


def sample_efficiency(experiences: ArrayLike, expert: ArrayLike) -> float:
    """SE: saturation over the expert's, times the expert's experiences to saturation over the task's.

    Args:
        experiences: (experiences,), all of the task's visits one behind the other.
        expert: (experiences,), of an agent that trained on this task alone.

    Returns:
        The product; 0 where nothing was learnt (a saturation below a fifth of the expert's, or scores that fall over
        time), and nan where one saturates at its first experience, or the expert's saturation is not positive.
    """
    (ours, after), (theirs, experts) = saturation(experiences), saturation(expert)
    if not theirs > 0 or math.isnan(ours):
        return math.nan
    if ours < LEAST_SATURATION * theirs or slope(_known(experiences).tolist()) < 0:
        return 0.0
    return (ours / theirs) * (experts / after) if after and experts else math.nan


def recovery_time(experiences: ArrayLike, previous: float) -> int:
    """Experiences of a block of training until a score is back at the previous terminal performance of the task.

    Returns:
        The first place; one more than the length of the block where there is none.
    """
    values = np.array(experiences, dtype=float)
    there = np.flatnonzero(values >= previous)
    return int(there[0]) if len(there) else len(values) + 1


def performance_recovery(times: ArrayLike) -> float:
    """PR: minus the Theil-Sen slope (the median slope of all pairs) of a task's recovery times over its repeats.

    Returns:
        The slope, positive where recovery becomes faster; nan of fewer than two.
    """
    values = np.array(times, dtype=float)
    slopes = [(values[j] - values[i]) / (j - i) for i, j in itertools.combinations(range(len(values)), 2)]
    return -float(np.median(slopes)) if slopes else math.nan


def _known(experiences: ArrayLike) -> Numbers:
    values = np.array(experiences, dtype=float)
    found: Numbers = values[~np.isnan(values)]
    return found
