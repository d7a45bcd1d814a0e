"""Aggregates of a sample, with the interval in which they would fall for other seeds.

The aggregates themselves are functions of arrays (..., seeds, tasks), so that thousands of resamples are one call; take
them by `estimate`, whose sample knows its axes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import trim_mean

from crl.statistics.sample import Numbers, Sample

CLAIMS_FROM = 5  # seeds; from fewer nothing is claimed
REPETITIONS = 10_000  # resamples of an interval; rliable recommends at least 2,000
LEVEL = 0.95  # of an interval
TRIMMED = 0.25  # of the scores at either end, which the interquartile mean leaves out
AT_ONCE = 1 << 22  # scores of resamples that are held at a time

Aggregate = Callable[[Numbers], Numbers]
"""From (..., seeds, tasks) to (...)."""


def mean(values: Numbers) -> Numbers:
    """Mean over tasks of their means over seeds."""
    found: Numbers = values.mean(axis=(-2, -1))
    return found


def median(values: Numbers) -> Numbers:
    """Median over tasks of their means over seeds, as rliable has it; of a single task, the median over its seeds."""
    found: Numbers = np.median(values[..., 0] if values.shape[-1] == 1 else values.mean(axis=-2), axis=-1)
    return found


def interquartile_mean(values: Numbers) -> Numbers:
    """IQM: mean of all scores, of all seeds and tasks together, without the lowest and the highest quarter."""
    found: Numbers = trim_mean(values.reshape(*values.shape[:-2], -1), TRIMMED, axis=-1)
    return found


def optimality_gap(values: Numbers, target: float = 1.0) -> Numbers:
    """By how much scores are below the target on average; what is above it makes up for nothing.

    It means something for scores of which the target is good: 1 for shares of an oracle's return.
    """
    found: Numbers = target - np.minimum(values, target).mean(axis=(-2, -1))
    return found


@dataclass(frozen=True)
class Estimate:
    """A number computed of a sample.

    Attributes:
        value: of the sample.
        low: lower end of its 95% interval, None where there are too few seeds for one.
        high: upper end.
    """

    value: float
    low: float | None = None
    high: float | None = None


def estimate(
    sample: Sample,
    aggregate: Aggregate,
    *,
    whole_runs: bool = False,
    repetitions: int = REPETITIONS,
    seed: int = 0,
) -> Estimate:
    """An aggregate and its stratified bootstrap 95% interval over seeds, by percentiles.

    Args:
        sample: scores.
        aggregate: such as `interquartile_mean`.
        whole_runs: False draws the seeds of each task anew, as rliable does, which holds where the tasks were trained
            in runs of their own. True draws whole runs: the tasks of one stream are correlated, and an interval that
            takes them for independent is too narrow.
        repetitions: resamples.
        seed: of what is drawn.
    """
    value = float(aggregate(sample.values))
    if len(sample.seeds) < CLAIMS_FROM:
        return Estimate(value)
    generator = np.random.default_rng(seed)
    found = [
        aggregate(drawn(sample, count, whole_runs, generator)) for count in batches(repetitions, sample.values.size)
    ]
    return Estimate(value, *interval(np.concatenate(found)).tolist())


def performance_profile(
    sample: Sample,
    thresholds: Sequence[float],
    *,
    whole_runs: bool = False,
    repetitions: int = REPETITIONS,
    seed: int = 0,
) -> list[Estimate]:
    """Performance profile: the share of all scores, of all seeds and tasks together, above each threshold.

    Args:
        sample: scores.
        thresholds: at each of which the share is taken.
        whole_runs: see `estimate`.
        repetitions: resamples.
        seed: of what is drawn.
    """

    def above(threshold: float) -> Aggregate:
        return lambda values: (values > threshold).mean(axis=(-2, -1))

    options = {"whole_runs": whole_runs, "repetitions": repetitions, "seed": seed}
    return [estimate(sample, above(threshold), **options) for threshold in thresholds]  # type: ignore[arg-type]


def batches(repetitions: int, size: int) -> Iterator[int]:
    """Numbers of resamples, `repetitions` in all, of which so many are held at a time as memory stays flat with.

    Args:
        repetitions: resamples.
        size: numbers that one takes.
    """
    most = max(1, AT_ONCE // size)
    for begun in range(0, repetitions, most):
        yield min(most, repetitions - begun)


def drawn(sample: Sample, count: int, whole_runs: bool, generator: np.random.Generator) -> Numbers:
    """Some samples drawn from a sample with replacement: (count, seeds, tasks)."""
    seeds, tasks = sample.values.shape
    picks = generator.integers(seeds, size=(count, seeds, 1 if whole_runs else tasks))
    return sample.values[picks, np.arange(tasks)]


def interval(values: Numbers) -> Numbers:
    """Both ends of the interval in which nearly all of the resamples' values lie."""
    found: Numbers = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return found
