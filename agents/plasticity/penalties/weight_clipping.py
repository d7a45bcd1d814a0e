"""Weight clipping: weights are held within the range that they are drawn from."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from agents.plasticity.network_intervention import NetworkIntervention, Networks
from agents.plasticity.penalties.pull import is_drawn
from agents.plasticity.protocols import Learner, Update
from agents.plasticity.units import Network, Part
from agents.plasticity.validation import check


class WeightClipping(NetworkIntervention):
    """Weight clipping: hold weights within a range around zero (arXiv 2407.01704).

    After every optimizer step all weights and biases are clamped to +-`kappa` / sqrt(fan_in), output layers included;
    a bias has the fan-in of its weights. That is `kappa` times the range in which torch draws them. Published for
    supervised learning. Where layers are drawn more widely (orthogonally, with a gain above 1, as hidden layers of
    Stable-Baselines3's PPO), the range is `kappa` times that of a uniform distribution with their variance, which is
    ours: the published one would cut off a third of such a layer at the first step, this one the tails. Normalisations
    and log standard deviations are left alone.

    Args:
        networks: names of the networks whose weights are clipped, or ``paper``; None for all that the policy has.
        kappa: factor on the range (published: 1 to 5). Less holds weights closer to zero. At 1 a critic may not follow
            values far from 0 (benchmarks/README.md: of SAC on a pendulum, which learns at 2).
    """

    name = "weight_clipping"

    def __init__(self, *, networks: Networks = None, kappa: float = 1.0) -> None:
        super().__init__(networks)
        check("kappa", kappa, kappa > 0, "a number above 0")
        self.kappa = kappa

    def attach(self, learner: Learner) -> None:
        super().attach(learner)
        self._bounds = {name: dict(self._bounded(learner.networks[name])) for name in self._names}

    def _bounded(self, network: Network) -> Iterator[tuple[Tensor, float]]:
        for part in network.parts:
            if is_drawn(part.module):
                for parameter in part.module.parameters(recurse=False):
                    yield parameter, self.kappa * _range(part)

    def claims(self) -> dict[str, list[str]]:
        return {"clip the weights of {}": self._names}

    @torch.no_grad()
    def after_step(self, update: Update) -> None:
        bounds = self._trained_now(update, self._bounds)
        if bounds:
            torch._foreach_clamp_max_([*bounds], [*bounds.values()])
            torch._foreach_clamp_min_([*bounds], [-bound for bound in bounds.values()])

    @torch.no_grad()
    def metrics(self) -> dict[str, float]:
        """``<network>/at_bound``: share of the weights that are clipped as they stand."""
        found = {}
        for name, bounds in self._bounds.items():
            held = torch.stack([(p.abs() >= bound).sum() for p, bound in bounds.items()]).sum()
            found[f"{name}/at_bound"] = float(held) / sum(p.numel() for p in bounds)
        return found


def _range(part: Part) -> float:
    """The largest weight that a part is drawn with, as if it were drawn uniformly."""
    weight = part.module.weight
    assert isinstance(weight, Tensor)
    deviation = part.init.statistics(part.module)[0].deviation
    return max(1 / math.sqrt(weight[0].numel()), math.sqrt(3) * deviation)
