"""How well the ranking of a criterion agrees with what replacing the units really costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import Tensor

from agents.plasticity.audit import (
    REFERENCES,
    AuditedCriterion,
    Costs,
    joint_costs,
    references_of,
    true_costs,
    utilities,
)
from agents.plasticity.probing import layers_of
from agents.plasticity.protocols import Learner
from agents.plasticity.selections import has_signal
from agents.plasticity.taps import Taps
from agents.plasticity.units import UnitLayer

LOWEST = 0.1  # share of a layer's units that is taken for what a reset would replace


@dataclass(frozen=True)
class Lowest:
    """The cost of the units that a criterion ranks lowest: mean absolute changes of a transition's loss.

    Attributes:
        units: how many.
        cost: sum of what each costs alone.
        best: the least that this sum could be.
        chance: what it is on average where the units are drawn at random.
        joint: what replacing them together costs.
    """

    units: int
    cost: float
    best: float
    chance: float
    joint: float

    @property
    def ratio(self) -> float:
        """Cost over the best possible: 1 is perfect; infinite where only the best possible is nothing."""
        if self.best > 0:
            return self.cost / self.best
        return math.inf if self.cost > 0 else 1.0


@dataclass(frozen=True)
class Agreement:
    """A criterion and the true costs of one way to replace units of one layer.

    Attributes:
        absolute: Spearman's correlation with `Costs.absolute`.
        mean_loss: with `Costs.mean_loss`.
        outputs: with `Costs.outputs`.
        lowest: None where the criterion ranks nothing.

    Correlations are None where they are not defined: a side is the same for all units, or not finite.
    """

    absolute: float | None
    mean_loss: float | None
    outputs: float | None
    lowest: Lowest | None


@dataclass(frozen=True)
class LayerAudit:
    """One layer's true costs and what the criteria say of them.

    Attributes:
        layer: whose units they are.
        utilities: label -> (units,).
        costs: replacement, of `REFERENCES` -> what each unit costs.
        agreements: label -> replacement -> agreement.
    """

    layer: UnitLayer
    utilities: Mapping[str, Tensor]
    costs: Mapping[str, Costs]
    agreements: Mapping[str, Mapping[str, Agreement]]

    @property
    def silent(self) -> list[str]:
        """Labels of criteria that rank nothing here."""
        return [label for label, utility in self.utilities.items() if not ranks(utility)]


def ranks(utility: Tensor) -> bool:
    """Whether utilities rank units: they are finite, not all zero and not all equal."""
    return bool(has_signal(utility)) and bool((utility != utility[0]).any())


def spearman(left: Tensor, right: Tensor) -> float | None:
    """Spearman's rank correlation with mean ranks for ties; None where it is not defined."""
    for side in (left, right):
        if not side.isfinite().all() or not (side != side[0]).any():
            return None
    return float(spearmanr(left.numpy(), right.numpy()).statistic)


def lowest_units(values: Tensor) -> Tensor:
    """Indices of the lowest tenth, at least one; of equal ones those that come first, as selections take them."""
    return values.argsort(stable=True)[: max(1, int(LOWEST * len(values)))]


def audit_layers(
    learner: Learner, batch: Any, candidates: Sequence[AuditedCriterion], seed: int
) -> Iterator[LayerAudit]:
    """Audit every layer, one after the other.

    Args:
        learner: whose layers they are.
        batch: of `Learner.sample`, on which everything is measured.
        candidates: the criteria.
        seed: of what they draw.
    """
    layers = layers_of(learner)
    found = utilities(learner, batch, candidates, seed)
    with torch.no_grad(), Taps(layers) as taps:
        learner.outputs(batch)
    for layer in layers:
        references = references_of(layer, taps.activations[layer.name])
        of_layer = {label: values[layer.name] for label, values in found.items()}
        yield _audit(learner, batch, layer, of_layer, references)


def _audit(
    learner: Learner, batch: Any, layer: UnitLayer, found: Mapping[str, Tensor], references: Mapping[str, Tensor]
) -> LayerAudit:
    costs: dict[str, Costs] = {}
    agreements: dict[str, dict[str, Agreement]] = {label: {} for label in found}
    groups = {label: lowest_units(utility) for label, utility in found.items() if ranks(utility)}
    for replacement in REFERENCES:
        true = costs[replacement] = true_costs(learner, batch, layer, references[replacement])
        joint = joint_costs(learner, batch, layer, list(groups.values()), references[replacement]).absolute
        together = dict(zip(groups, joint.tolist(), strict=True))
        for label, utility in found.items():
            lowest = _lowest(true.absolute, groups[label], together[label]) if label in groups else None
            agreements[label][replacement] = agreement(utility, true, lowest)
    return LayerAudit(layer, found, costs, agreements)


def agreement(utility: Tensor, true: Costs, lowest: Lowest | None) -> Agreement:
    """Correlations of utilities with true costs, both (units,)."""
    return Agreement(
        spearman(utility, true.absolute), spearman(utility, true.mean_loss), spearman(utility, true.outputs), lowest
    )


def _lowest(costs: Tensor, units: Tensor, joint: float) -> Lowest:
    best = costs[lowest_units(costs)].sum()
    return Lowest(len(units), float(costs[units].sum()), float(best), len(units) * float(costs.mean()), joint)


@dataclass(frozen=True)
class Summary:
    """A criterion over all layers: means of the correlations and the median of the ratios, where they are defined."""

    absolute: float | None
    mean_loss: float | None
    ratio: float | None


def summaries(audits: Sequence[LayerAudit]) -> dict[str, dict[str, Summary]]:
    """Label -> replacement -> summary; the label that agrees best on the absolute costs, over both, comes first."""
    found: dict[str, dict[str, Summary]] = {
        label: {
            str(replacement): summary([audit.agreements[label][replacement] for audit in audits])
            for replacement in REFERENCES
        }
        for label in audits[0].agreements
    }

    def quality(label: str) -> float:
        known = [of.absolute for of in found[label].values() if of.absolute is not None]
        return fmean(known) if known else -math.inf

    return {label: found[label] for label in sorted(found, key=quality, reverse=True)}


def summary(agreements: Sequence[Agreement]) -> Summary:
    """Over layers."""
    return Summary(
        _mean([found.absolute for found in agreements]),
        _mean([found.mean_loss for found in agreements]),
        median(ratios) if (ratios := [found.lowest.ratio for found in agreements if found.lowest]) else None,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
