"""Weight decay: weights are drawn to zero."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from agents.plasticity.network_intervention import Networks
from agents.plasticity.penalties.pull import Pull, is_drawn
from agents.plasticity.protocols import Learner


class WeightDecay(Pull):
    """Weight decay: draw weights to zero, as AdamW does (arXiv 1711.05101).

    theta -= lr * `coefficient` * theta after the optimizer's step, of all weights and biases, output layers included,
    normalisations and log standard deviations not. Not `decoupled` it is the L2 penalty `coefficient` / 2 * |theta|^2
    in the loss, the ``weight_decay`` of `torch.optim.Adam`, but for the gradients that are clipped with it; continual
    PPO was shown with one of 1e-3 (Nature 632:768), beside continual backprop 1e-4. The default coefficient is
    `torch.optim.AdamW`'s.

    Args:
        networks: names of the networks whose weights decay, or ``paper``; None for all that the policy has.
        coefficient: strength; 0 costs nothing. More keeps weights smaller.
        decoupled: apart from the loss and from the clipping of gradients, as above; or within them.
    """

    name = "weight_decay"
    factor = 0.5

    def __init__(self, *, networks: Networks = None, coefficient: float = 1e-2, decoupled: bool = True) -> None:
        super().__init__(networks, coefficient, decoupled)

    def attach(self, learner: Learner) -> None:
        super().attach(learner)
        self._zeros: dict[str, dict[Tensor, Tensor]] = {
            name: {
                parameter: parameter.detach().new_zeros(()).expand_as(parameter)
                for part in learner.networks[name].parts
                if is_drawn(part.module)
                for parameter in part.module.parameters(recurse=False)
            }
            for name in self._names
        }

    @property
    def points(self) -> Mapping[str, Mapping[Tensor, Tensor]]:
        return self._zeros

    def _draw(self, parameters: tuple[Tensor, ...], points: tuple[Tensor, ...], share: float) -> None:
        # A GPU takes all at once, which it does not with points that are broadcast.
        torch._foreach_add_(parameters, parameters, alpha=-share)

    def claims(self) -> dict[str, list[str]]:
        return {"let the weights of {} decay": self._names}
