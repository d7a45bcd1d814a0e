"""How TensorBoard shall group the tags of a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from agents.learner import LearnerMixin
from agents.plasticity import CChain, UnitReset
from crl.monitoring.tasks import tag_of

CHARTS: dict[str, dict[str, tuple[str, ...]]] = {  # category -> title -> measures of `Diagnostics` in one chart
    "units": {
        "dormant ratio": ("dormant_ratio_0", "dormant_ratio", "dormant_ratio_0.1"),
        "GraMa ratio": ("grama_ratio",),
        "fraction of active units": ("fau",),
        "saturated fraction": ("saturated_fraction",),
    },
    "ranks": {
        "effective rank": ("effective_rank",),
        "srank": ("srank",),
        "stable rank": ("stable_rank",),
        "dominant share": ("dominant_share",),
        "NTK rank": ("ntk_rank",),
    },
    "change": {
        "value churn": ("value_churn", "value_churn_abs"),
        "learning signal": ("signal",),
        "gradient norm": ("grad_norm",),
        "update norm": ("update_norm",),
        "weight norm": ("weight_norm",),
    },
    "policy": {
        "entropy": ("entropy",),
        "saturation": ("saturation",),
        "policy churn": ("policy_churn",),
    },
}


def layout(learner: LearnerMixin, tasks: Sequence[str], measures: Sequence[str]) -> dict[str, dict[str, list[Any]]]:
    """Category -> title -> chart: one for each quantity, with a curve per task or network.

    Args:
        learner: which writes the tags.
        tasks: names of the stream's tasks.
        measures: tags of the measures of plasticity.
    """
    found = {
        "tasks": {
            "mean return": _chart([f"task/{tag_of(task)}/ep_rew_mean" for task in tasks]),
            "mean length": _chart([f"task/{tag_of(task)}/ep_len_mean" for task in tasks]),
            "task index": _chart(["task/index"]),
        },
        **plasticity_charts(measures),
    }
    if learner.networks:
        found["resets"] = {"units reset": _chart([f"reset/{network}/units" for network in learner.networks])}
        if any(isinstance(intervention, UnitReset) for intervention in learner.interventions):
            # TensorBoard takes regular expressions; the first part is the intervention's name.
            shown = r"[^/]+/(predicted_cost|realised_cost|unit_costs)$"
            found["resets"]["cost: predicted, realised, and of single units summed"] = ["Multiline", [shown]]
    if any(isinstance(intervention, CChain) for intervention in learner.interventions):
        shown = r"^chain(_\d+)?/[^/]+/"
        found["churn penalty"] = {key: ["Multiline", [f"{shown}{key}$"]] for key in ("churn", "penalty", "coefficient")}
    return found


def plasticity_charts(tags: Sequence[str]) -> dict[str, dict[str, list[Any]]]:
    """Category -> title -> chart of those of the tags that it shows, a curve per network; without empty charts."""
    found: dict[str, dict[str, list[Any]]] = {}
    for category, charts in CHARTS.items():
        for title, measures in charts.items():
            shown = [tag for measure in measures for tag in tags if tag.rpartition("/")[2] == measure]
            if shown:
                found.setdefault(f"plasticity: {category}", {})[title] = _chart(shown)
    return found


def _chart(tags: list[str]) -> list[Any]:
    # TensorBoard takes each tag as a regular expression.
    return ["Multiline", [re.escape(tag) for tag in tags]]
