"""How much a unit matters: pure functions from what was seen of a layer to one utility per unit; low is worthless.

Activations `a` and gradients ``g = dL/da`` have shape (batch, units), or (batch, channels, height, width) for
convolutions, where a unit is a channel. L is a mean over the batch. Every function returns shape (units,).
"""

from __future__ import annotations

from torch import Tensor


def gxd(a: Tensor, g: Tensor, reference: float = 0.0) -> Tensor:
    """First-order cost of replacing a unit: u_i = E_b | sum_positions g_bi (a_bi - r) |, g per sample.

    Gradient times difference from reference (arXiv 2605.06834). The paper's body was not available to us: this is our
    reading of its abstract. The reference is what the surgery substitutes, 0 where outgoing weights are zeroed. The
    sum over positions stands inside the absolute value, because a channel is replaced everywhere at once.
    """
    # L is a mean over the batch: dL/da already holds 1/batch, so the mean over samples is a plain sum.
    cost = g * (a - reference)
    if cost.dim() > 2:
        cost = cost.flatten(2).sum(-1)
    return cost.abs().sum(0)


def redo(a: Tensor) -> Tensor:
    """Mean absolute activation over batch and positions: ReDo's score (arXiv 2302.12902) before normalisation."""
    return a.abs().mean([0, *range(2, a.dim())])


def regrama(weight_grad: Tensor) -> Tensor:
    """Mean absolute gradient of a unit's incoming weights: the form of GraMa's released code (arXiv 2505.24061).

    Args:
        weight_grad: gradient of the producer's weight, (units, inputs) or (units, inputs, height, width).
    """
    return weight_grad.abs().flatten(1).mean(1)


def normalized(utility: Tensor) -> Tensor:
    """Utility over the layer's mean, so that the mean is 1 (and the sum the number of units)."""
    return utility / (utility.mean() + 1e-9)
