"""L2-Init: weights are drawn back to where they began."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from agents.plasticity.anchors import Anchors
from agents.plasticity.network_intervention import Networks
from agents.plasticity.penalties.pull import Pull, is_drawn
from agents.plasticity.protocols import Edit, Learner


class L2Init(Pull):
    """L2-Init, or regenerative regularisation: draw weights back to where they began (arXiv 2308.11958).

    The loss is L(theta) + `coefficient` * |theta - theta_0|^2, the squares summed over all weights and biases, output
    layers included, normalisations and log standard deviations not; there is no 1/2 before it. That is published, with
    coefficients of 1e-5 to 1e-2. With Adam such a term is scaled by the gradients' running square as they are: it draws
    the harder, the smaller they get. Ours, and the default, is the `decoupled` form, as AdamW decays weights:
    theta -= lr * `coefficient` * (theta - theta_0) after the optimizer's step, whose strength depends on nothing else.
    With plain gradient descent it is the other one's at half the coefficient. What a reset draws anew has its new
    values as theta_0, but for the single weights of `SWR`, which are drawn to where the old ones began.

    Args:
        networks: names of the networks whose weights are drawn, or ``paper``; None for all that the policy has.
        coefficient: strength; 0 costs nothing. More keeps networks nearer to fresh ones, and what they learn smaller.
        decoupled: apart from the loss and from the clipping of gradients, as above; or within them.
    """

    name = "l2_init"
    factor = 1.0

    def __init__(self, *, networks: Networks = None, coefficient: float = 1e-2, decoupled: bool = True) -> None:
        super().__init__(networks, coefficient, decoupled)

    def attach(self, learner: Learner) -> None:
        super().attach(learner)
        self._anchors = Anchors([learner.networks[name] for name in self._names], is_drawn)

    @property
    def points(self) -> Mapping[str, Mapping[Tensor, Tensor]]:
        return self._anchors.of

    def claims(self) -> dict[str, list[str]]:
        return {"draw the weights of {} to where they began": self._names}

    def on_surgery(self, edit: Edit) -> None:
        self._anchors.follow(edit)

    def state_dict(self) -> dict[str, Tensor]:
        return self._anchors.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._refuse_other_networks(state)
        self._anchors.load_state_dict(state)

    @torch.no_grad()
    def metrics(self) -> dict[str, float]:
        """``<network>/distance``: root mean square of what lies between weights and where they began."""
        found = {}
        for name in self._names:
            pairs = self._anchors.of[name].items()
            if self.coefficient and pairs:
                squares = torch.stack([(p - anchor).float().square().sum() for p, anchor in pairs]).sum()
                found[f"{name}/distance"] = float(squares / sum(p.numel() for p, _ in pairs)) ** 0.5
        return found
