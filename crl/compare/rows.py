"""The numbers of each measure, task and group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from crl.compare.groups import MEASURES, Group, Measure, oracle_of
from crl.statistics import (
    CLAIMS_FROM,
    Difference,
    Estimate,
    Sample,
    estimate,
    holm,
    interquartile_mean,
    mean,
    median,
    optimality_gap,
    paired_difference,
    probability_of_improvement,
)
from crl.statistics.aggregates import Aggregate

ALL = "all, over the oracle's"
AGGREGATES: dict[str, Aggregate] = {"iqm": interquartile_mean, "mean": mean, "median": median}

Values = dict[int, dict[str, float]]
"""Seed -> task -> value of a run."""


@dataclass(frozen=True)
class Row:
    """A measure of a group in a task, or in all tasks together.

    Attributes:
        measure: its name.
        task: its name, or that all are together.
        group: its label.
        points: seed -> the run's value; of all tasks together its mean.
        estimates: name of the aggregate -> value and interval.
        difference: from the reference, over the seeds that both have; None of the reference itself, and where too few
            seeds are in both for a claim.
        p: of the difference, corrected for all comparisons of the measure: those of single tasks, or those of all tasks
            together, which answer one question and not one for each task.
        better: probability that a run of the group is better than one of the reference, None as the difference is.
    """

    measure: str
    task: str
    group: str
    points: Mapping[int, float]
    estimates: Mapping[str, Estimate]
    difference: Difference | None = None
    p: float | None = None
    better: Estimate | None = None


def rows_of(groups: Sequence[Group], reference: Group) -> list[Row]:
    """The rows of all measures that some run has.

    Args:
        groups: of runs.
        reference: the one with which the others are compared.
    """
    oracle = oracle_of(groups)
    return [row for measure in MEASURES for row in _rows_of(measure, groups, reference, oracle)]


def _rows_of(measure: Measure, groups: Sequence[Group], reference: Group, oracle: Group | None) -> list[Row]:
    values = {group.label: _values(measure, group, oracle) for group in groups}
    tasks = list(dict.fromkeys(task for of in values.values() for each in of.values() for task in each))
    samples = [
        (task, label, sample)
        for task in tasks
        for label, of in values.items()
        if (sample := _sample(of, [task])) is not None
    ]
    if measure.is_return and oracle is not None and len(tasks) > 1:
        shares = _shares(values, values[oracle.label], tasks)
        samples += [(ALL, label, sample) for label, of in shares.items() if (sample := _sample(of, tasks)) is not None]
    compared_with = {task: sample for task, label, sample in samples if label == reference.label}
    rows = [
        _row(measure, *each, compared_with.get(each[0]) if each[1] != reference.label else None) for each in samples
    ]
    together = [row for row in rows if row.task == ALL]
    return _corrected(rows[: len(rows) - len(together)]) + _corrected(together)


def _corrected(rows: Sequence[Row]) -> list[Row]:
    """Rows with the p of their differences, corrected for all that these rows compare."""
    corrected = iter(holm([row.difference.p for row in rows if row.difference is not None]))  # type: ignore[misc]
    return [row if row.difference is None else replace(row, p=next(corrected)) for row in rows]


def _values(measure: Measure, group: Group, oracle: Group | None) -> Values:
    return {
        seed: measure.of(run, None if oracle is None else oracle.runs.get(seed)) for seed, run in group.runs.items()
    }


def _sample(values: Values, tasks: Sequence[str]) -> Sample | None:
    """The seeds that have a value in each of some tasks; None where none has."""
    found = {seed: {task: of.get(task, math.nan) for task in tasks} for seed, of in values.items()}
    known = {seed: of for seed, of in found.items() if all(map(math.isfinite, of.values()))}
    return Sample(known) if known else None


def _shares(values: Mapping[str, Values], oracle: Values, tasks: Sequence[str]) -> dict[str, Values]:
    """Values over the oracle's mean in each task; of costs, where all are negative, that mean over them.

    Nothing where the oracle's means are of both kinds or zero, or some run's values are, where it has only costs.
    """
    fresh = _sample(oracle, tasks)
    if fresh is None:
        return {}
    means = dict(zip(fresh.tasks, fresh.values.mean(axis=0).tolist(), strict=True))
    known = [value for of in values.values() for each in of.values() for value in each.values() if math.isfinite(value)]
    costs = max(*means.values(), *known) < 0
    if not costs and min(means.values()) <= 0:
        return {}

    def share(value: float, mean: float) -> float:
        return mean / value if costs else value / mean

    return {
        label: {seed: {task: share(value, means[task]) for task, value in each.items()} for seed, each in of.items()}
        for label, of in values.items()
    }


def _row(measure: Measure, task: str, label: str, sample: Sample, reference: Sample | None) -> Row:
    aggregates = AGGREGATES | ({"optimality_gap": optimality_gap} if task == ALL else {})
    row = Row(
        measure.name,
        task,
        label,
        dict(zip(sample.seeds, sample.values.mean(axis=1).tolist(), strict=True)),
        # Tasks of one run are correlated.
        {name: estimate(sample, aggregate, whole_runs=True) for name, aggregate in aggregates.items()},
    )
    difference = None if reference is None else paired_difference(sample, reference)
    if reference is None or difference is None or len(difference.seeds) < CLAIMS_FROM:
        return row
    ours, theirs = (reference, sample) if measure.lower_is_better else (sample, reference)
    return replace(row, difference=difference, better=probability_of_improvement(ours, theirs, whole_runs=True))
