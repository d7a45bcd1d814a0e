"""L2-Init: weights are drawn back to where they began."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from agents.plasticity.anchors import Anchors
from agents.plasticity.network_intervention import NetworkIntervention, Networks, trained_parameters
from agents.plasticity.penalties.known import with_gradients
from agents.plasticity.protocols import Edit, Learner, Update
from agents.plasticity.units.builders import NORMS
from agents.plasticity.validation import check


class L2Init(NetworkIntervention):
    """L2-Init, or regenerative regularisation: draw weights back to where they began (arXiv 2308.11958).

    The loss is L(theta) + `coefficient` * |theta - theta_0|^2, the squares summed over all weights and biases, output
    layers included, normalisations and log standard deviations not; there is no 1/2 before it. That is published, with
    coefficients of 1e-5 to 1e-2. With Adam such a term is scaled by the gradients' running square as they are: it draws
    the harder, the smaller they get. Ours, and the default, is the `decoupled` form, as AdamW decays weights:
    theta -= lr * `coefficient` * (theta - theta_0) after the optimizer's step, whose strength depends on nothing else.
    With plain gradient descent it is the other one's at half the coefficient. What a reset draws anew has its new
    values as theta_0.

    Args:
        networks: names of the networks whose weights are drawn, or ``paper``; None for all that the policy has.
        coefficient: strength; 0 costs nothing. More keeps networks nearer to fresh ones, and what they learn smaller.
        decoupled: apart from the loss and from the clipping of gradients, as above; or within them.
    """

    name = "l2_init"

    def __init__(self, *, networks: Networks = None, coefficient: float = 1e-2, decoupled: bool = True) -> None:
        super().__init__(networks)
        check("coefficient", coefficient, coefficient >= 0, "a number of at least 0")
        self.coefficient, self.decoupled = coefficient, decoupled

    def attach(self, learner: Learner) -> None:
        super().attach(learner)
        networks = [learner.networks[name] for name in self._names]
        self._anchors = Anchors(networks, lambda module: not isinstance(module, NORMS))

    def claims(self) -> dict[str, list[str]]:
        return {"draw the weights of {} to where they began": self._names}

    def penalty(self, update: Update) -> Tensor | None:
        if self.decoupled or not self.coefficient:
            return None
        pairs = [pair for group in self._groups(update) for pair in group[1]]
        if not pairs:
            return None
        with torch.no_grad():
            apart = torch._foreach_sub([p for p, _ in pairs], [anchor for _, anchor in pairs])
            squares = torch.stack([norm.float() for norm in torch._foreach_norm(apart)]).square().sum()

        def gradients(reached: Tensor) -> list[Tensor]:
            torch._foreach_mul_(apart, 2 * self.coefficient)
            torch._foreach_mul_(apart, reached)
            return list(apart)

        return with_gradients(self.coefficient * squares, [p for p, _ in pairs], gradients)

    @torch.no_grad()
    def after_step(self, update: Update) -> None:
        if not self.decoupled or not self.coefficient:
            return
        for rate, pairs in self._groups(update):
            if isinstance(rate, Tensor):  # of optimizers that are captured in CUDA graphs
                for parameter, anchor in pairs:
                    parameter.lerp_(anchor, (rate * self.coefficient).to(parameter.device, parameter.dtype))
            elif pairs:
                parameters, anchors = zip(*pairs, strict=True)
                torch._foreach_lerp_(parameters, anchors, rate * self.coefficient)

    def _groups(self, update: Update) -> list[tuple[float | Tensor, list[tuple[Tensor, Tensor]]]]:
        """Learning rate, and parameters with their anchors, of each group of what this update trains now."""
        drawn: dict[Tensor, Tensor] = {}
        for name in self._names:
            if name in update.networks:
                drawn |= self._anchors.of[name]
        found = [
            (group["lr"], [(p, drawn[p]) for p in group["params"] if p.requires_grad and p in drawn])
            for group in update.optimizer.param_groups
        ]
        if sum(len(pairs) for _, pairs in found) < len(drawn):
            self._tell_what_is_frozen(drawn)
        return found

    def _tell_what_is_frozen(self, drawn: Mapping[Tensor, Tensor]) -> None:
        why = self._untrained(drawn, trained_parameters(self._learner))
        if why:
            self._tell_left_alone("a part of the networks", why)

    def on_surgery(self, edit: Edit) -> None:
        self._anchors.follow(edit)

    def state_dict(self) -> dict[str, Tensor]:
        return self._anchors.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if other := self.state_dict().keys() ^ state.keys():
            raise ValueError(f"{self.name}: the saved state is of other networks: {', '.join(sorted(other))}")
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
