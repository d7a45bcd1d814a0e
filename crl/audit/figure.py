"""The figure of an audit: how well every criterion ranks, and predicted against true costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents.plasticity.audit import REFERENCES, AuditedCriterion
from crl.audit.agreement import LayerAudit, Summary

SCATTERED = ("gxd", "contribution", "redo", "regrama", "magnitude")  # criteria whose utilities are drawn
FLOOR = 1e-5  # share of the largest value that is drawn where a value is lower, for axes are logarithmic
STYLE: dict[str, Any] = {"s": 9, "linewidths": 0, "alpha": 0.7}


def draw(
    path: Path,
    title: str,
    candidates: Sequence[AuditedCriterion],
    audits: Sequence[LayerAudit],
    found: Mapping[str, Mapping[str, Summary]],
) -> None:
    """Write the figure.

    Above: Spearman's correlation of each criterion with the true costs, a point for each layer and a bar for their
    mean. Below: utilities against true costs of replacement by zero; what is too low for the axes stands at their edge,
    and on the dashed line a predicted cost is the true one.

    Args:
        path: of the PNG.
        title: what was audited.
        candidates: the criteria.
        audits: the layers.
        found: label -> replacement -> summary, in the order in which they are drawn.
    """
    figure = Figure(figsize=(11, 7.5), dpi=110, layout="constrained")
    figure.suptitle(title, fontsize="medium", parse_math=False)
    upper, lower = figure.subfigures(2, 1, height_ratios=(0.22 * len(found) + 1, 2.6), squeeze=False)[:, 0]
    for axis, replacement in zip(upper.subplots(1, 2, sharex=True, sharey=True), REFERENCES, strict=True):
        _correlations(axis, replacement, audits, found)
    shown = [candidate for candidate in candidates if candidate.label in SCATTERED]
    shown.sort(key=lambda candidate: SCATTERED.index(candidate.label))
    axes = lower.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axis, candidate in zip(axes, shown, strict=True):
        _scatter(axis, candidate, audits)
    axes[0].set_ylabel("true cost: mean |change|\nof a transition's loss")
    handles, labels = upper.axes[0].get_legend_handles_labels()
    upper.legend(
        handles, labels, loc="outside upper center", ncols=min(len(labels), 8), fontsize="small", frameon=False
    )
    figure.savefig(path)


def _correlations(
    axis: Axes, replacement: str, audits: Sequence[LayerAudit], found: Mapping[str, Mapping[str, Summary]]
) -> None:
    labels = list(found)
    for number, audit in enumerate(audits):
        known = [(audit.agreements[label][replacement].absolute, place) for place, label in enumerate(labels)]
        points = [(value, place) for value, place in known if value is not None]
        axis.scatter([x for x, _ in points], [y for _, y in points], s=22, color=f"C{number}", label=audit.layer.name)
    means = [(found[label][replacement].absolute, place) for place, label in enumerate(labels)]
    there = [(value, place) for value, place in means if value is not None]
    axis.barh([y for _, y in there], [x for x, _ in there], height=0.7, color="0.88", zorder=0)
    axis.set_yticks(range(len(labels)), labels, fontsize="small")
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.set_xlim(right=1.03)
    axis.axvline(0, color="black", linewidth=0.6)
    axis.set_xlabel(f"Spearman, utility and true cost of replacement by {replacement}", fontsize="small")
    axis.spines[["top", "right"]].set_visible(False)


def _scatter(axis: Axes, candidate: AuditedCriterion, audits: Sequence[LayerAudit]) -> None:
    label = candidate.label
    utilities = [audit.utilities[label].clamp(min=0).nan_to_num(0, 0, 0) for audit in audits]
    costs = [audit.costs["zero"].absolute for audit in audits]
    low = [FLOOR * max(float(values.max()) for values in of) or FLOOR for of in (utilities, costs)]
    for number, (utility, cost) in enumerate(zip(utilities, costs, strict=True)):
        axis.scatter(utility.clamp(min=low[0]), cost.clamp(min=low[1]), color=f"C{number}", **STYLE)
    axis.set_xscale("log")
    axis.set_yscale("log")
    if candidate.criterion.is_cost:
        ends = max(low), min(max(float(values.max()) for values in of) for of in (utilities, costs))
        axis.plot(ends, ends, color="black", linewidth=0.8, linestyle="--", zorder=0)
    known = [audit.agreements[label]["zero"].absolute for audit in audits]
    values = [value for value in known if value is not None]
    text = f"{min(values):.2f} to {max(values):.2f}" if values else "not defined"
    axis.set_title(f"{label}\nSpearman {text}", fontsize="small")
    axis.set_xlabel("utility", fontsize="small")
    axis.spines[["top", "right"]].set_visible(False)
