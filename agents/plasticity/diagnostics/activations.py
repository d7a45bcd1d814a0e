"""How alive units are: measures of activations and of the gradients of incoming weights.

Activations have shape (batch, units), or (batch, channels, height, width) for convolutions, where a unit is a channel;
where an activation function folds, a unit's values stand in axis 2 and count as positions do: a unit is dormant where
all of them are. Every share is over the units, or the activations, of all layers together, so that wide layers count
for more. A share of what holds nan is nan.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from agents.plasticity.criteria import normalized, redo, regrama

DORMANT = 0.025  # threshold of ReDo (arXiv 2302.12902)
LITTLE_GRADIENT = 0.01  # threshold of ReGraMa (arXiv 2505.24061)
EDGE = 0.01  # distance from a bound of the activation within which a unit counts as saturated
SHARE = 0.99  # of samples on which it must be there
LOWEST: dict[type[object], float] = {  # of activations whose highest is 1
    nn.Tanh: -1.0, nn.Softsign: -1.0, nn.Hardtanh: -1.0, nn.Sigmoid: 0.0, nn.Hardsigmoid: 0.0,
}  # fmt: skip


def dormant_ratio(activations: Sequence[Tensor], tau: float = DORMANT) -> Tensor:
    """Share of hidden units whose mean absolute activation is at most tau times their layer's mean (arXiv 2302.12902).

    Args:
        activations: one tensor per hidden layer.
        tau: threshold on the layer-normalised score, whose mean is 1; 0 counts the units that are silent everywhere.
    """
    return _share_at_most(tau, [normalized(redo(a)) for a in activations])


def grama_ratio(weight_gradients: Sequence[Tensor], tau: float = LITTLE_GRADIENT) -> Tensor:
    """Share of hidden units that learn little (arXiv 2505.24061).

    A unit's score is the mean absolute gradient of its incoming weights over its layer's mean: the form of the paper's
    released code.

    Args:
        weight_gradients: one gradient per hidden layer, (units, inputs) or (units, inputs, height, width).
        tau: threshold on the layer-normalised score, whose mean is 1.
    """
    return _share_at_most(tau, [normalized(regrama(g)) for g in weight_gradients])


def fau(activations: Sequence[Tensor]) -> Tensor:
    """Fraction of active units: share of all activations that are above zero (adaptive replay ratio, arXiv 2310.07418).

    Samples, units and positions count alike: it is a density, not the share of units that ever fire. Of CReLU it is 0.5
    by construction: one of a unit's two values is above 0 wherever the other is not. Of deep Fourier features it is the
    share of sines and cosines above 0, which says nothing of their slopes.

    Args:
        activations: one tensor per hidden layer.
    """
    active = torch.stack([(a > 0).sum() for a in activations]).sum() / sum(a.numel() for a in activations)
    total = torch.stack([a.sum() for a in activations]).sum()
    return torch.where(total.isnan(), total, active)


def saturated_fraction(activations: Sequence[Tensor], lows: Sequence[float]) -> Tensor:
    """Share of units of bounded activations that sit at a bound: within 0.01 of it on more than 99% of samples.

    A tanh unit does where abs(a) > 0.99, a sigmoid unit where a > 0.99 or a < 0.01. Positions count as samples.

    Args:
        activations: one tensor per hidden layer; the upper bound is 1.
        lows: each layer's lower bound, -1 for tanh and 0 for sigmoid.
    """
    often = []
    for a, low in zip(activations, lows, strict=True):
        at_bound = ((a > 1 - EDGE) | (a < low + EDGE)).to(a.dtype)
        often.append(torch.where(a.isnan(), a, at_bound).transpose(0, 1).flatten(1).mean(1))
    shares = torch.cat(often)
    return _share(shares > SHARE, shares)


def _share_at_most(tau: float, scores: Sequence[Tensor]) -> Tensor:
    pooled = torch.cat(list(scores))
    return _share(pooled <= tau, pooled)


def _share(condition: Tensor, values: Tensor) -> Tensor:
    """How often the condition on the values holds; nan where a value is."""
    share: Tensor = torch.where(values.isnan(), values, condition.to(values.dtype)).mean()
    return share
