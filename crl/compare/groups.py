"""Runs that differ in nothing but their seeds, and what such a group is worth by each measure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from crl import metrics
from crl.compare.reading import Run
from crl.config import ConfigError
from crl.labels import group_labels
from crl.metrics import Scores, Segment, average

ORACLE, PLAIN = "oracle", ()


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seeds.

    Attributes:
        label: by what it differs from the other groups.
        runs: seed -> run.
    """

    label: str
    runs: Mapping[int, Run]

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of its interventions."""
        given = next(iter(self.runs.values())).config.get("interventions")
        listed = given if isinstance(given, list) else []
        return tuple(str(each.get("name")) if isinstance(each, dict) else str(each) for each in listed)


def grouped(runs: Sequence[Run], labels: Sequence[str] | None = None) -> list[Group]:
    """The groups, in the order of their first runs.

    Args:
        runs: that have ended.
        labels: one of each run, by which they are grouped; left out, by what differs between their configs.

    Raises:
        ConfigError: two runs of a group have the same seed.
    """
    found: dict[str, dict[int, Run]] = {}
    for label, run in zip(labels or group_labels([run.config for run in runs]), runs, strict=True):
        known = found.setdefault(label, {}).setdefault(run.seed, run)
        if known is not run:
            raise ConfigError(
                f"{str(known.folder)!r} and {str(run.folder)!r} are the same run, of one config and seed; leave one out"
            )
    return [Group(label, dict(sorted(of.items()))) for label, of in found.items()]


def reference_of(groups: Sequence[Group]) -> Group:
    """The group that the others are compared with: the only one without interventions, or else the first."""
    plain = [group for group in groups if group.methods == PLAIN]
    return plain[0] if len(plain) == 1 else groups[0]


def oracle_of(groups: Sequence[Group]) -> Group | None:
    """The group whose agent is made anew for each task, None where that is not one."""
    oracles = [group for group in groups if group.methods == (ORACLE,)]
    return oracles[0] if len(oracles) == 1 else None


ByTask = dict[str, float]
"""Task, without regard to its variants -> value of a run, nan where it has none."""


@dataclass(frozen=True)
class Measure:
    """A number of a run for each of its tasks.

    Attributes:
        name: what it is.
        meaning: how it is computed, for who reads a report.
        of: from a run, and the oracle's of the same seed if there is one, to the number for each task.
        is_return: whether it is a return, of which shares of the oracle's may be put together over tasks.
        lower_is_better: whether it is.
    """

    name: str
    meaning: str
    of: Callable[[Run, Run | None], ByTask]
    is_return: bool = False
    lower_is_better: bool = False


def _late_return(run: Run, _: Run | None) -> ByTask:
    """Mean of the returns at the ends of visits, weighted by the lengths of the visits."""
    sums: dict[str, list[float]] = {visit.family: [0.0, 0.0] for visit in run.results.visits}
    for visit in run.results.visits:
        if visit.mean_return is not None:
            sums[visit.family][0] += visit.mean_return * visit.steps
            sums[visit.family][1] += visit.steps
    return {family: total / steps if steps else math.nan for family, (total, steps) in sums.items()}


def _of_tasks(
    measured: Callable[[Scores, Sequence[Segment]], Mapping[str, float]],
) -> Callable[[Run, Run | None], ByTask]:
    """A measure of evaluations that gives one number for each task: its mean over variants."""

    def found(run: Run, _: Run | None) -> ByTask:
        values = {} if run.scores is None else measured(run.scores, run.segments)
        return _by_family(run, [(task, value) for task, value in values.items()])

    return found


def _average_performance(run: Run, _: Run | None) -> ByTask:
    if run.scores is None:
        return {}
    families = run.families
    return {
        family: metrics.average_performance(
            run.scores, [each for each in run.segments if families[each.task] == family]
        )
        for family in dict.fromkeys(families.values())
    }


def _plasticity(run: Run, oracle: Run | None) -> ByTask:
    if run.scores is None or oracle is None or oracle.scores is None:
        return {}
    values = metrics.plasticity(run.scores, oracle.scores, run.segments)
    return _by_family(run, [(segment.task, value) for segment, value in zip(run.segments, values, strict=True)])


def _by_family(run: Run, values: Sequence[tuple[str, float]]) -> ByTask:
    families = run.families
    found: dict[str, list[float]] = {}
    for task, value in values:
        if task in families:  # what was evaluated need not have been trained
            found.setdefault(families[task], []).append(value)
    return {family: average(of) for family, of in found.items()}


MEASURES = (
    Measure(
        "return at the ends of visits",
        "mean return of the training episodes in the last tenth of each visit, over the visits of the task",
        _late_return,
        is_return=True,
    ),
    Measure(
        "average performance over life",
        "mean return of the evaluations of the task while it is trained, over the time of its visits",
        _average_performance,
        is_return=True,
    ),
    Measure(
        "final performance",
        "mean return of the last evaluation of the task, at the end of the stream",
        _of_tasks(lambda scores, _: metrics.final_performance(scores)),
        is_return=True,
    ),
    # Continual World's code takes the last five of a visit, which here, dense at its beginning, would be nearly all.
    Measure(
        "forgetting (lower is better)",
        "the last evaluation of the task in its last visit less the one at the end of the stream",
        _of_tasks(lambda scores, segments: metrics.forgetting(scores, segments, last=1)),
        lower_is_better=True,
    ),
    Measure(
        "worst since trained (min-ACC)",
        "the lowest evaluation of the task since its last visit ended; the task of the last visit has none",
        _of_tasks(metrics.worst_since_trained),
    ),
    Measure(
        "plasticity (area over the oracle's)",
        "area under the evaluations of the task in a visit over that of the oracle with the same seed, over its visits",
        _plasticity,
    ),
)
