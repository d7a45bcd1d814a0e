"""TRAC: how far to go with Adam is tuned online, from nearly nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from agents.plasticity.optimizers.adam import AdamBased, Group, gradients_of

DISCOUNTS = 6  # 0.9, 0.99, ... 0.999999
START = 1e-8  # scale that each tuner begins with, as the authors' code has it
TINY = 1e-8  # added to what is divided by, there too
ERFI_AT_START = 0.9534382692512609  # erfi(1 / sqrt(2))
BOUND, TERMS = 6.0, 128  # of erfi: from here on its scale would be in the millions; what is left out is below rounding


class TRAC(AdamBased):
    """Adam's way from the weights that training began with, scaled by tuners without parameters (arXiv 2405.16642).

    Adam goes on from the gradients alone: theta_base. The weights are theta_ref + S (theta_base - theta_ref). With
    h = <gradient, theta_base - theta_ref> over all tensors, a tuner for each discount b of 0.9, 0.99, ... 0.999999 has
    v <- b^2 v + h^2, sigma <- b sigma - h and s = 1e-8 erfi(sigma / sqrt(2 v)) / erfi(1 / sqrt(2)); S is the sum of
    all s, at least 0. It begins at about 1e-7 and grows while the gradients agree with where Adam has gone. Published
    for PPO; with SAC it grew too slowly for a critic whose targets move (benchmarks/README.md).

    The numbers are those of the authors' code. Ours is that Adam's way is kept as it is (the paper's algorithm): there
    it is taken from the weights, to which a small S rounds it away. What is changed in the weights from outside, as by
    clipping or projections, so moves theta_ref with it, and a unit that is reset begins from its fresh weights. Each
    tensor holds its tuners, all alike; where one is redrawn as a whole, its own begin anew. erfi is bounded where S
    would be above a million.

    Args:
        params: parameters or groups of them.
        lr: learning rate of Adam; the paper takes that which Adam has.
        betas: decay rates of Adam's two moments.
        eps: added to the root of the second moments.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, lr, betas, eps)

    def _beginning(self, parameter: Tensor) -> dict[str, Any]:
        tuners = parameter.new_zeros(3, DISCOUNTS)  # rows: v, sigma, s
        tuners[1] = START
        return {**super()._beginning(parameter), "offset": torch.zeros_like(parameter), "tuners": tuners}

    def _advance(self, trained: Sequence[tuple[Group, list[Tensor]]]) -> None:
        parameters = [parameter for _, each in trained for parameter in each]
        offsets = [self.state[parameter]["offset"] for parameter in parameters]
        held = [self.state[parameter]["tuners"] for parameter in parameters]
        before = torch.stack(held)
        products = [(offset * g).sum() for offset, g in zip(offsets, gradients_of(parameters), strict=True)]
        after = tuned(before, torch.stack(products).sum())
        way = [offset * scale for offset, scale in zip(offsets, _scales(before), strict=True)]
        for group, each in trained:
            self._adam(group, each, [self.state[parameter]["offset"] for parameter in each], group["lr"])
        for parameter, offset, scale, gone in zip(parameters, offsets, _scales(after), way, strict=True):
            parameter.add_(offset * scale - gone)
        torch._foreach_copy_(held, list(after.unbind()))


def tuned(tuners: Tensor, h: Tensor) -> Tensor:
    """Tuners after another step.

    Args:
        tuners: v, sigma and s of every tensor, (tensors, 3, discounts).
        h: the product of gradient and offset, a scalar.
    """
    exact = torch.float32 if tuners.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
    discounts = 1 - torch.logspace(-1, -DISCOUNTS, DISCOUNTS, dtype=exact, device=tuners.device)
    v, sigma, _ = tuners.to(exact).unbind(1)
    v = discounts.square() * v + h.to(exact).square()
    sigma = discounts * sigma - h
    s = START / ERFI_AT_START * erfi(sigma / (math.sqrt(2) * v.sqrt() + TINY))
    return torch.stack([v, sigma, s], dim=1).to(tuners.dtype)


def _scales(tuners: Tensor) -> Sequence[Tensor]:
    """S of every tensor."""
    found: Sequence[Tensor] = tuners[:, 2].sum(1).clamp(min=0).unbind()
    return found


def erfi(x: Tensor) -> Tensor:
    """The imaginary error function, 2 / sqrt(pi) times the sum of x^(2n+1) / (n! (2n+1)), which torch.special lacks.

    All terms have one sign, so that nothing cancels: of float64 it is exact to rounding, up to an absolute x of 6; what
    is beyond counts as 6.
    """
    x = x.clamp(-BOUND, BOUND)
    n = torch.arange(1, TERMS, dtype=x.dtype, device=x.device)
    terms = (x.square().unsqueeze(-1) / n).cumprod(-1) / (2 * n + 1)
    return 2 / math.sqrt(math.pi) * x * (1 + terms.sum(-1))
