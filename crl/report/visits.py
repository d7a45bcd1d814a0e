"""How well agents still learn: what each visit has come to, over what a fresh agent comes to in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crl.compare.groups import Group
from crl.compare.reading import Run
from crl.metrics import average, plasticity, ratio
from crl.plot.figure import Group as Drawn
from crl.plot.figure import explain
from crl.report.arms import Compared
from crl.statistics import CLAIMS_FROM, Estimate, Sample, estimate, mean

PARTS = 60  # of a stream of more visits, each of which stands for several
REPETITIONS = 2000  # resamples of an interval, as many as rliable recommends at least
RETURNS, AREAS = "return at the end of the visit", "area under the curve of evaluations"


class Ratios(NamedTuple):
    """Of one run.

    Attributes:
        arm: its name.
        seed: of the run.
        kind: `RETURNS` or `AREAS`.
        values: for each visit its value over the oracle's, nan where there is none.
    """

    arm: str
    seed: int
    kind: str
    values: Sequence[float]


def ratios_of(compared: Compared) -> list[Ratios]:
    """Those of all runs that have ended and of whose seed there is an oracle; none where there is no oracle."""
    oracle = compared.oracle
    if oracle is None:
        return []
    pairs = [
        (group, seed, run, oracle.runs[seed])
        for group in compared.groups
        if group is not oracle
        for seed, run in group.runs.items()
        if seed in oracle.runs
    ]
    found = [Ratios(group.label, seed, RETURNS, _of_returns(run, fresh)) for group, seed, run, fresh in pairs]
    found += [
        Ratios(group.label, seed, AREAS, plasticity(run.scores, fresh.scores, run.segments))
        for group, seed, run, fresh in pairs
        if run.scores is not None and fresh.scores is not None
    ]
    return [each for each in found if not all(map(math.isnan, each.values))]


def _of_returns(run: Run, oracle: Run) -> list[float]:
    known = [
        (mine.mean_return, fresh.mean_return)
        for mine, fresh in zip(run.results.visits, oracle.results.visits, strict=True)
    ]
    return [math.nan if mine is None or fresh is None else ratio(mine, fresh) for mine, fresh in known]


def by_part(values: Sequence[float]) -> list[float]:
    """One number for each visit; of many visits means of those that follow one another, nan where none is known."""
    parts = np.array_split(np.array(values, dtype=float), min(len(values), PARTS))
    return [average(part.tolist()) for part in parts]


def figure_of(compared: Compared, ratios: Sequence[Ratios]) -> Figure | None:
    """A panel for each kind: the mean of each arm, its interval or else all its runs; None where there is no ratio."""
    kinds = [kind for kind in (RETURNS, AREAS) if any(each.kind == kind for each in ratios)]
    if not kinds:
        return None
    figure = Figure(figsize=(9, 2.7 * len(kinds) + 0.8), dpi=110, layout="constrained")
    axes = figure.subplots(len(kinds), 1, sharex=True, squeeze=False)[:, 0]
    groups = [group for group in compared.groups if any(each.arm == group.label for each in ratios)]
    for axis, kind in zip(axes, kinds, strict=True):
        for group in groups:
            mine = {each.seed: by_part(each.values) for each in ratios if (each.arm, each.kind) == (group.label, kind)}
            if mine:
                _draw(axis, group, compared.style_of(group), mine, _visits(ratios[0].values))
        axis.axhline(1, color="0.4", linewidth=0.8, linestyle="--", zorder=0)
        axis.set_title(kind, fontsize="small")
        axis.set_ylabel("over the oracle's", fontsize="small")
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("visit")
    explain(figure, axes[0])
    return figure


def _visits(values: Sequence[float]) -> list[float]:
    """Where each part stands: at the mean of the numbers, from 1, of its visits."""
    return by_part(list(range(1, len(values) + 1)))


def _draw(axis: Axes, group: Group, drawn: Drawn, runs: Mapping[int, list[float]], visits: Sequence[float]) -> None:
    estimates = [_estimate({seed: values[place] for seed, values in runs.items()}) for place in range(len(visits))]
    known = [(visit, found) for visit, found in zip(visits, estimates, strict=True) if found is not None]
    style: dict[str, Any] = drawn.style
    x = [visit for visit, _ in known]
    axis.plot(
        x, [found.value for _, found in known], marker="o", markersize=3, linewidth=1.4, label=group.label, **style
    )
    claimed = [
        (visit, found.low, found.high) for visit, found in known if found.low is not None and found.high is not None
    ]
    if claimed:
        at, low, high = zip(*claimed, strict=True)
        axis.fill_between(at, low, high, color=drawn.color, alpha=0.15, linewidth=0, gid=drawn.mark)
    if len(runs) < CLAIMS_FROM:
        for values in runs.values():
            axis.plot(
                visits, values, linestyle="", marker="o", markersize=2.5, alpha=0.5, color=drawn.color, gid=drawn.mark
            )


def _estimate(values: Mapping[int, float]) -> Estimate | None:
    known = {seed: {"visit": value} for seed, value in values.items() if math.isfinite(value)}
    return estimate(Sample(known), mean, repetitions=REPETITIONS) if known else None
