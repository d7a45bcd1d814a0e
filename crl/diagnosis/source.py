"""Since when a network of a run ails, by what the run has logged: at once, at which switch, or little by little."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from agents.plasticity import findings as known
from crl.config import ConfigError, RunConfig
from crl.plot.reading import Curves, Numbers
from crl.plot.reading import read as read_curves
from crl.plot.thinning import thinned
from crl.statistics.changes import FEWEST, Change, change_of

if TYPE_CHECKING:  # reports read sources without torch
    from agents.learner import LearnerMixin
    from agents.plasticity.diagnosis import Diagnosis

MOST = 80  # points of a curve, besides one for each visit


class Measure(NamedTuple):
    """What shows a mechanism in the logs.

    Attributes:
        name: of a measure of plasticity.
        rising: whether it rises as the mechanism sets in.
        by_factors: whether it changes by factors, so that its logarithm is looked at.
    """

    name: str
    rising: bool
    by_factors: bool = False


VALUES = "value size"
"""Of the parameters that were kept; no log has it."""
SHOWN: Mapping[str, Measure] = {
    known.BROKEN: Measure("trainability", rising=False),
    known.DEAD: Measure("dormant_ratio", rising=True),
    known.BOUND: Measure("saturated_fraction", rising=True),
    known.SATURATED: Measure("entropy", rising=False),
    known.NORMS: Measure("weight_norm", rising=True, by_factors=True),
    known.RANK: Measure("effective_rank", rising=False, by_factors=True),
    known.KERNEL: Measure("ntk_rank", rising=False, by_factors=True),
    known.STALE: Measure("grad_norm", rising=False, by_factors=True),
    known.DIVERGING: Measure(VALUES, rising=True, by_factors=True),
}
"""Mechanism -> the measure that tells since when."""
UNEXPLAINED = Measure("trainability", rising=False)


@dataclass(frozen=True)
class Source:
    """Since when a network ails.

    Attributes:
        mechanism: that was found; empty where the network learns less than fresh ones by none that is looked for.
        network: of which.
        measure: whose curve was looked at.
        points: of that curve.
        change: in the direction of the mechanism; None of too few points.
        visit: number, from 1, of the visit at whose beginning a sudden change is; None where it is at none, or where
            visits have one point each, so that every change would be at a switch.
        task: of that visit.
    """

    mechanism: str
    network: str
    measure: str
    points: int
    change: Change | None
    visit: int | None = None
    task: str | None = None


@dataclass(frozen=True)
class Origin:
    """Where all that was found comes from.

    Attributes:
        sources: one for each finding, in their order, and for each network that nothing explains.
        settings: network of these -> the settings that act on it, by key.
        unlogged: why no logs were looked at, where they were not.
    """

    sources: tuple[Source, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unlogged: str | None = None


def origin_of(folder: Path, config: RunConfig, steps: int, model: LearnerMixin, diagnosis: Diagnosis) -> Origin:
    """Where all that was found comes from.

    Args:
        folder: of the run.
        config: of the run.
        steps: of training, after which it was diagnosed; later rows of logs are left out.
        model: its agent at that time.
        diagnosis: of it.
    """
    wanted = [(each.mechanism, each.network, SHOWN[each.mechanism]) for each in diagnosis.findings]
    wanted += [("", network, UNEXPLAINED) for network in diagnosis.unexplained]
    curves, unlogged = None, None
    try:
        if any(measure.name != VALUES for *_, measure in wanted):
            curves = read_curves(folder, plasticity=True)
    except ConfigError as error:
        unlogged = str(error)
    found = []
    for mechanism, network, measure in wanted:
        if measure.name == VALUES:
            curve = _of_sizes(diagnosis.value_sizes[network])
        else:
            curve = _EMPTY if curves is None else _of_logs(curves, f"{network}/{measure.name}", steps)
        found.append(_source(mechanism, network, measure, curve))
    settings = {network: _settings(config, model, network) for network in dict.fromkeys(each.network for each in found)}
    return Origin(tuple(found), settings, unlogged)


def _settings(config: RunConfig, model: LearnerMixin, network: str) -> dict[str, Any]:
    """The learning rate is that of the time."""
    own = set(model.networks[network].parameters)
    groups = [group for optimizer in model.optimizers for group in optimizer.param_groups]
    rates = dict.fromkeys(float(group["lr"]) for group in groups if own.intersection(group["params"]))
    agent = config.agent
    return {
        "learning_rate": next(iter(rates), None), "batch_size": model.batch_size, "activation": agent.activation,
        "norm": agent.norm, "optimizer": agent.optimizer.name,
    }  # fmt: skip


class _Curve(NamedTuple):
    """Points of a measure.

    Attributes:
        steps: of each.
        values: at these.
        visits: index of the visit of each; nan where a point stands for several.
        tasks: name of the task of each, empty where that is not known.
    """

    steps: Numbers
    values: Numbers
    visits: Numbers
    tasks: Sequence[str]


_EMPTY = _Curve(np.zeros(0), np.zeros(0), np.zeros(0), ())


def _of_sizes(sizes: Mapping[int, float]) -> _Curve:
    steps = np.array(sorted(sizes), dtype=float)
    values = np.array([sizes[int(step)] for step in steps])
    return _Curve(steps, values, np.full(len(steps), math.nan), [""] * len(steps))


def _of_logs(curves: Curves, tag: str, until: int) -> _Curve:
    if tag not in curves.plasticity:
        return _EMPTY
    played = curves.played()
    rows = ~np.isnan(curves.plasticity[tag]) & (curves.steps <= until)
    there = replace(
        curves, steps=curves.steps[rows], segments=curves.segments[rows], tasks=curves.tasks[rows],
        returns=curves.returns[rows], resets={}, plasticity={tag: curves.plasticity[tag][rows]},
    )  # fmt: skip
    (few,) = thinned([there], MOST)
    if len(few.steps) > 2 * MOST:  # of so many visits each point stands for several
        (few,) = thinned([replace(few, segments=np.zeros(len(few.steps)))], MOST)
        few = replace(few, segments=np.full(len(few.steps), math.nan))
    return _Curve(few.steps, few.plasticity[tag], few.segments, [played.get(visit, "") for visit in few.segments])


def _source(mechanism: str, network: str, measure: Measure, curve: _Curve) -> Source:
    if measure.by_factors:
        rows = curve.values > 0
        tasks = [task for task, row in zip(curve.tasks, rows, strict=True) if row]
        curve = _Curve(curve.steps[rows], np.log(curve.values[rows]), curve.visits[rows], tasks)
    change = change_of(curve.steps, curve.values, rising=measure.rising, groups=_tasks_that_return(curve))
    if change is not None and measure.by_factors:
        change = replace(change, before=math.exp(change.before), after=math.exp(change.after))
    found = Source(mechanism, network, measure.name, len(curve.steps), change)
    visit = None if change is None or change.kind != "sudden" else _switch(curve, change)
    if visit is None:
        return found
    task = next((name for name, of in zip(curve.tasks, curve.visits, strict=True) if of == visit), "")
    return replace(found, visit=int(visit) + 1, task=task or None)


def _tasks_that_return(curve: _Curve) -> list[int] | None:
    """The number of each point's task, where every task was visited twice at least; measures of tasks differ."""
    visits = {(task, visit) for task, visit in zip(curve.tasks, curve.visits.tolist(), strict=True)}
    names = sorted({task for task, _ in visits})
    again = all(sum(name == task for task, _ in visits) > 1 for name in names)
    if not again or "" in names or len(curve.steps) < FEWEST + len(names) - 1:
        return None
    return [names.index(task) for task in curve.tasks]


def _switch(curve: _Curve, change: Change) -> float | None:
    """The visit that begins between the two points of a jump."""
    old, new = (float(curve.visits[curve.steps == step][0]) for step in (change.begin, change.end))
    seen = all(int((curve.visits == visit).sum()) > 1 for visit in (old, new))
    return new if seen and old != new else None
