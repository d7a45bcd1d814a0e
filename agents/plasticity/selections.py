"""Which units to replace: utilities and eligibility -> amounts, without looking at a value on the host.

An amount is 0 for a unit that stays and 1 for one that is replaced; between them old and new weights are mixed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from agents.plasticity.criteria import NO_SIGNAL, normalized
from agents.plasticity.validation import check


def select_lowest_rate(
    utility: Tensor, eligible: Tensor, accumulated: Tensor, share: float, cap: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Continual backprop's selection: the lowest of the eligible units, as many as have accumulated.

    Args:
        utility: (units,), low is worthless.
        eligible: (units,) bool.
        accumulated: scalar, the fraction of a unit that earlier selections left over.
        share: of the eligible units, what has fallen due since.
        cap: largest share of the layer, rounded up to whole units; what is due above it is forgone.

    Returns:
        mask (units,) and what is left over. Without a signal nothing is selected and nothing accumulates.
    """
    due = torch.where(has_signal(utility), accumulated + share * eligible.sum(), accumulated)
    whole = due.floor()
    most = whole.clamp(max=math.ceil(cap * len(utility)))
    mask = (_rank(utility, eligible) < most) & eligible & has_signal(utility)
    return mask, due - whole


def select_below(utility: Tensor, eligible: Tensor, tau: float, cap: float = 1.0, allow_full: bool = False) -> Tensor:
    """ReDo's selection: units whose utility over the layer's mean is at most tau, the lowest first up to a cap.

    Args:
        utility: (units,), low is worthless.
        eligible: (units,) bool.
        tau: threshold on the layer-normalised utility.
        cap: largest share of the layer, rounded up to whole units.
        allow_full: also redraw a layer whose utilities are all zero; else that layer, which ranks nothing, is left.

    Returns:
        mask (units,).
    """
    low = eligible & (normalized(utility) <= tau)
    mask = low & (_rank(utility, low) < math.ceil(cap * len(utility)))
    return mask & utility.isfinite().all() if allow_full else mask & _has_scale(utility)


def select_lowest_share(utility: Tensor, eligible: Tensor, share: float) -> Tensor:
    """The lowest of the eligible units, as many as `share` of the layer rounded up to whole units; mask (units,)."""
    return eligible & (_rank(utility, eligible) < math.ceil(share * len(utility))) & has_signal(utility)


def select_within_budget(
    costs: Sequence[Tensor], eligible: Sequence[Tensor], budget: Tensor, cap: float = 1.0
) -> list[Tensor]:
    """The cheapest units of several layers together, while the sum of their single costs stays within the budget.

    Args:
        costs: (units,) of each layer, in the budget's unit.
        eligible: (units,) bool of each layer.
        budget: scalar.
        cap: largest share of all units, rounded up to whole units.

    Returns:
        mask (units,) of each layer. A layer without a signal keeps its units, though they would cost nothing.
    """
    cost = torch.cat(list(costs))
    allowed = torch.cat([units & has_signal(one) for one, units in zip(costs, eligible, strict=True)])
    ascending, order = torch.where(allowed, cost, torch.inf).sort(stable=True)
    place = torch.arange(len(cost), device=cost.device)
    chosen = (ascending.cumsum(0) <= budget) & (place < math.ceil(cap * len(cost)))
    mask = torch.zeros_like(allowed).scatter(0, order, chosen)
    return list((mask & allowed).split([len(one) for one in costs]))


def calibrated_amounts(utility: Tensor, rate: float, sharpness: float, threshold: float) -> Tensor:
    """rate * min(2 sigmoid(-sharpness (u - threshold)), 1), u the layer-normalised utility (arXiv 2607.24996)."""
    low = (2 * torch.sigmoid(-sharpness * (normalized(utility) - threshold))).clamp(max=1)
    return torch.where(_has_scale(utility), rate * low, 0.0)


def _rank(utility: Tensor, among: Tensor) -> Tensor:
    """Each unit's place in ascending order among some; the others come last."""
    return torch.where(among, utility, torch.inf).argsort(stable=True).argsort()


def has_signal(utility: Tensor) -> Tensor:
    """Whether the layer's utilities rank anything, a bool scalar: not all zero, and finite."""
    mean = utility.abs().mean()
    return (mean > NO_SIGNAL) & mean.isfinite()


def _has_scale(utility: Tensor) -> Tensor:
    """Whether the layer's mean utility is something to compare utilities with, a bool scalar."""
    return has_signal(utility) & (utility.mean() > 0)


@dataclass(frozen=True)
class LayerUtilities:
    """One layer at a selection.

    Attributes:
        utility: (units,), low is worthless.
        eligible: (units,) bool.
        left: scalar, the fraction of a unit that earlier selections left over.
    """

    utility: Tensor
    eligible: Tensor
    left: Tensor


class Selection(ABC):
    """Base of the selections."""

    needs_loss: ClassVar[bool] = False
    """Whether it compares utilities with the size of the loss."""

    def most(self, units: int, steps: int) -> float:
        """The most units of a layer of `units` that can fall due in `steps` gradient steps, told without a look at any.

        While less than one has fallen due in all, a layer is not selected from, and what it is due waits.
        """
        return float(units)

    def missed(self, lowest: float) -> str:
        """Why it has picked no unit.

        Args:
            lowest: of the utilities that it could pick from, over their layer's mean.
        """
        return "the selection picked no unit"

    @abstractmethod
    def select(self, layers: Sequence[LayerUtilities], steps: int, loss: Tensor | None) -> list[tuple[Tensor, Tensor]]:
        """Amounts (units,) and what is left over, of layers of one network.

        Args:
            layers: those of which a unit may fall due (`most`).
            steps: gradient steps since these layers' last selection.
            loss: scalar, mean absolute loss of a sample; None unless the selection needs it.
        """


class LayerSelection(Selection):
    """A selection that looks at each layer by itself."""

    def select(self, layers: Sequence[LayerUtilities], steps: int, loss: Tensor | None) -> list[tuple[Tensor, Tensor]]:
        return [self.of_layer(layer, steps) for layer in layers]

    @abstractmethod
    def of_layer(self, layer: LayerUtilities, steps: int) -> tuple[Tensor, Tensor]:
        """Amounts (units,) and what is left over."""


@dataclass(frozen=True)
class Rate(LayerSelection):
    """Continual backprop's: a share of the eligible units per gradient step, the lowest first.

    A layer is selected from when a whole unit may have fallen due since the last time, were all of them eligible: at
    small rates and periods what is due may wait that long. In between nothing is ranked or drawn, on any device.

    Args:
        rate: share of units per gradient step. More means more new units and more forgetting.
        cap: largest share of a layer that one selection may reset, rounded up to whole units. A layer that is all new
            passes nothing on, and with it the network would learn nothing ever again.
    """

    rate: float
    cap: float = 0.5

    def __post_init__(self) -> None:
        check("rate", self.rate, 0 <= self.rate <= 1, "a share of units per gradient step between 0 and 1")
        check("cap", self.cap, 0 < self.cap <= 1, "a share of a layer above 0 and at most 1")

    def most(self, units: int, steps: int) -> float:
        return self.rate * steps * units

    def missed(self, lowest: float) -> str:
        return f"no whole unit has fallen due at a rate of {self.rate:g}"

    def of_layer(self, layer: LayerUtilities, steps: int) -> tuple[Tensor, Tensor]:
        mask, left = select_lowest_rate(layer.utility, layer.eligible, layer.left, self.rate * steps, self.cap)
        return mask.to(layer.utility.dtype), left


@dataclass(frozen=True)
class Threshold(LayerSelection):
    """ReDo's: units whose utility is at most tau times their layer's mean, the lowest first up to a cap.

    Args:
        tau: threshold on the layer-normalised utility, whose mean is 1. More resets more units.
        cap: largest share of a layer that one check may reset, rounded up to whole units.
        allow_full: also redraw a layer whose utilities are all zero.
    """

    tau: float
    cap: float = 1.0
    allow_full: bool = False

    def __post_init__(self) -> None:
        check("tau", self.tau, self.tau >= 0, "a threshold of at least 0 on scores whose mean is 1")
        check("cap", self.cap, 0 < self.cap <= 1, "a share of a layer above 0 and at most 1")

    def missed(self, lowest: float) -> str:
        return f"no unit was at or below tau={self.tau:g}; the lowest stood at {lowest:.2g} of its layer's mean"

    def of_layer(self, layer: LayerUtilities, steps: int) -> tuple[Tensor, Tensor]:
        mask = select_below(layer.utility, layer.eligible, self.tau, self.cap, self.allow_full)
        return mask.to(layer.utility.dtype), layer.left


@dataclass(frozen=True)
class Absolute(LayerSelection):
    """Units whose utility is at most tau, whatever the others' are: for criteria that have a scale of their own.

    Args:
        tau: threshold on the utility. More resets more units.
        allow_full: also redraw a layer whose utilities are all zero.
    """

    tau: float
    allow_full: bool = False

    def __post_init__(self) -> None:
        check("tau", self.tau, math.isfinite(self.tau), "a threshold on utilities, which is a number")

    def missed(self, lowest: float) -> str:
        return f"no unit's utility was at or below tau={self.tau:g}"

    def of_layer(self, layer: LayerUtilities, steps: int) -> tuple[Tensor, Tensor]:
        mask = layer.eligible & (layer.utility <= self.tau)
        return (mask if self.allow_full else mask & has_signal(layer.utility)).to(layer.utility.dtype), layer.left


@dataclass(frozen=True)
class Percentage(LayerSelection):
    """The lowest share of each layer at every check, rounded up to whole units.

    Args:
        share: of the layer's units.
    """

    share: float

    def __post_init__(self) -> None:
        check("share", self.share, 0 < self.share <= 1, "a share of a layer above 0 and at most 1")

    def of_layer(self, layer: LayerUtilities, steps: int) -> tuple[Tensor, Tensor]:
        mask = select_lowest_share(layer.utility, layer.eligible, self.share)
        return mask.to(layer.utility.dtype), layer.left


@dataclass(frozen=True)
class Budget(Selection):
    """The cheapest units of a network while their single costs sum to at most a share of its loss.

    Only for criteria whose utilities are costs in units of loss (GXD). What the units would cost alone is summed (with
    the default reduction the ``unit_costs`` that are logged); to first order all together cost at most that.

    Args:
        share: of the mean absolute loss of a sample (PPO's mean policy loss is zero by construction).
        cap: largest share of the network's units that one check may reset, rounded up to whole units.
    """

    share: float
    cap: float = 0.5
    needs_loss: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check("share", self.share, self.share > 0, "a share of the loss above 0")
        check("cap", self.cap, 0 < self.cap <= 1, "a share of the network's units above 0 and at most 1")

    def missed(self, lowest: float) -> str:
        return f"the cheapest unit would have cost more than the budget of {self.share:g} of the loss"

    def select(self, layers: Sequence[LayerUtilities], steps: int, loss: Tensor | None) -> list[tuple[Tensor, Tensor]]:
        assert loss is not None
        masks = select_within_budget(
            [layer.utility for layer in layers], [layer.eligible for layer in layers], self.share * loss, self.cap
        )
        return [(mask.to(layer.utility.dtype), layer.left) for mask, layer in zip(masks, layers, strict=True)]


@dataclass(frozen=True)
class Calibrated(LayerSelection):
    """Calibrated partial resets: a part of every unit, more of those with a low utility (arXiv 2607.24996).

    Args:
        rate: largest part of a unit that one check replaces.
        sharpness: how steeply the part falls around the threshold.
        threshold: on the layer-normalised utility, whose mean is 1; half the sigmoid's fall lies here.
    """

    rate: float = 0.015
    sharpness: float = 16.0
    threshold: float = 1.0

    def __post_init__(self) -> None:
        check("rate", self.rate, 0 < self.rate <= 1, "the part of a unit to replace, above 0 and at most 1")
        check("sharpness", self.sharpness, self.sharpness > 0, "a number above 0")
        check("threshold", self.threshold, self.threshold > 0, "a number above 0 on scores whose mean is 1")

    def missed(self, lowest: float) -> str:
        return (
            f"all parts that were reset come to less than a unit; the lowest stood at {lowest:.2g} of its layer's mean"
        )

    def of_layer(self, layer: LayerUtilities, steps: int) -> tuple[Tensor, Tensor]:
        amounts = calibrated_amounts(layer.utility, self.rate, self.sharpness, self.threshold)
        return torch.where(layer.eligible, amounts, 0.0), layer.left
