"""Whether one method is better than another, from their runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from crl.statistics.aggregates import CLAIMS_FROM, LEVEL, REPETITIONS, Estimate, batches, drawn, interval
from crl.statistics.sample import Numbers, Sample


def probability_of_improvement(
    ours: Sample, theirs: Sample, *, whole_runs: bool = False, repetitions: int = REPETITIONS, seed: int = 0
) -> Estimate:
    """How probable it is that a run of ours has a higher score than one of theirs: mean over tasks of P(X > Y).

    Mann and Whitney's U over the number of pairs, so that equal scores count half. Both samples are drawn anew for the
    interval, independently, as rliable does.

    Args:
        ours: scores.
        theirs: scores in the same tasks; the seeds may be others.
        whole_runs: see `crl.statistics.estimate`.
        repetitions: resamples.
        seed: of what is drawn.

    Raises:
        ValueError: the tasks are others.
    """
    _check_tasks(ours, theirs)
    value = float(_share_above(ours.values, theirs.values))
    if min(len(ours.seeds), len(theirs.seeds)) < CLAIMS_FROM:
        return Estimate(value)
    mine, others = np.random.default_rng(seed).spawn(2)
    size = len(theirs.seeds) * ours.values.size
    found = [
        _share_above(drawn(ours, count, whole_runs, mine), drawn(theirs, count, whole_runs, others))
        for count in batches(repetitions, size)
    ]
    return Estimate(value, *interval(np.concatenate(found)).tolist())


def _share_above(ours: Numbers, theirs: Numbers) -> Numbers:
    """P(X > Y) + P(X = Y) / 2 of (..., seeds, tasks) and (..., other seeds, tasks), mean over tasks: (...)."""
    signs = np.sign(ours[..., :, None, :] - theirs[..., None, :, :])
    found: Numbers = (1 + signs.mean(axis=(-3, -2, -1))) / 2
    return found


@dataclass(frozen=True)
class Difference:
    """Of two methods, over the seeds that both have.

    Attributes:
        seeds: of these.
        value: mean difference, ours less theirs.
        low: lower end of its 95% interval, None where there are too few seeds for one.
        high: upper end.
        p: probability of a mean difference at least as far from 0 if there were none, None with `low`.
    """

    seeds: tuple[int, ...]
    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None


def paired_difference(ours: Sample, theirs: Sample) -> Difference | None:
    """Mean difference of runs with the same seed, which met the same stream, with Student's paired t-test.

    The interval and p take the differences for normal. Without that assumption (by the signs of the differences alone)
    no result of five seeds could have a p below .06. Correct the p of several comparisons by `holm`.

    Args:
        ours: scores; of several tasks each seed's mean is taken.
        theirs: scores in the same tasks.

    Returns:
        The difference; None where no seed is in both.

    Raises:
        ValueError: the tasks are others.
    """
    _check_tasks(ours, theirs)
    seeds = tuple(seed for seed in ours.seeds if seed in theirs.seeds)
    if not seeds:
        return None
    differences = ours.only(seeds).values.mean(axis=1) - theirs.only(seeds).values.mean(axis=1)
    value = float(differences.mean())
    if len(seeds) < CLAIMS_FROM:
        return Difference(seeds, value)
    error, freedom = float(differences.std(ddof=1)) / len(seeds) ** 0.5, len(seeds) - 1
    away = error * float(t.ppf((1 + LEVEL) / 2, freedom))
    p = 2 * float(t.sf(abs(value) / error, freedom)) if error else float(value == 0)
    return Difference(seeds, value, value - away, value + away, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction for several comparisons (1979): p that may be held against one level, all together.

    Args:
        p_values: of all comparisons that were made.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.minimum(1, np.maximum.accumulate(np.array(p_values, dtype=float)[order] * factors))
    found = np.empty(len(p_values))
    found[order] = corrected
    return [float(each) for each in found]


def _check_tasks(ours: Sample, theirs: Sample) -> None:
    if ours.tasks != theirs.tasks:
        raise ValueError(
            f"the samples are of different tasks, {', '.join(ours.tasks)} and {', '.join(theirs.tasks)}; give the same "
            "ones, in the same order"
        )
