"""Which units to replace: utilities and eligibility of one layer -> a mask, without looking at a value on the host."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from agents.plasticity.criteria import normalized

NO_SIGNAL = 1e-12  # a layer whose mean utility is below this ranks nothing


def select_lowest_rate(utility: Tensor, eligible: Tensor, accumulated: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Continual backprop's selection: the lowest of the eligible units, as many as have accumulated.

    Args:
        utility: (units,), low is worthless.
        eligible: (units,) bool.
        accumulated: scalar, the fraction of a unit that earlier selections left over.
        share: of the eligible units, what has fallen due since.

    Returns:
        mask (units,) and what is left over. Without a signal nothing is selected and nothing accumulates.
    """
    due = torch.where(has_signal(utility), accumulated + share * eligible.sum(), accumulated)
    whole = due.floor()
    mask = (_rank(utility, eligible) < whole) & eligible & has_signal(utility)
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
    most = math.ceil(cap * len(utility))
    mask = low & (_rank(utility, low) < most)
    return mask if allow_full else mask & has_signal(utility)


def _rank(utility: Tensor, among: Tensor) -> Tensor:
    """Each unit's place in ascending order among some; the others come last."""
    return torch.where(among, utility, torch.inf).argsort(stable=True).argsort()


def has_signal(utility: Tensor) -> Tensor:
    """Whether the layer's utilities rank anything, a bool scalar: not all zero, and finite."""
    mean = utility.mean()
    return (mean > NO_SIGNAL) & mean.isfinite()
