"""FIRE: weights become the nearest ones that keep lengths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from agents.plasticity.anchors import Anchors
from agents.plasticity.network_intervention import Networks
from agents.plasticity.protocols import Edit, Learner
from agents.plasticity.resets.whole import Scheduled, Targets
from agents.plasticity.units import Network
from agents.plasticity.validation import check

STEPS = 10
TINY = 1e-12


def isometric(weight: Tensor) -> Tensor:
    """The nearest weight that keeps lengths, in proportion to the square root of outputs over inputs.

    Ten cubic Newton-Schulz steps X <- 1.5 X - 0.5 X X^T X from X = W / |W| (Frobenius), times sqrt(outputs / inputs)
    (arXiv 2602.08040). A singular value of a twentieth of the norm becomes 1 - 5e-4 by these, one of a hundredth 0.53.
    A convolution is as many matrices as its kernel has positions, each divided by their number.

    Args:
        weight: (outputs, inputs) or (outputs, channels, height, width). Zeros stay zeros.
    """
    outputs, inputs = weight.shape[:2]
    x = weight.to(torch.promote_types(weight.dtype, torch.float32)).reshape(outputs, inputs, -1).permute(2, 0, 1)
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(TINY)
    for _ in range(STEPS):
        x = 1.5 * x - 0.5 * (x @ (x.mT @ x) if inputs <= outputs else (x @ x.mT) @ x)
    found: Tensor = x * (math.sqrt(outputs / inputs) / len(x))
    return found.permute(1, 2, 0).reshape(weight.shape).to(weight.dtype)


class FIRE(Scheduled):
    """Make the weights of every layer isometric, as near to what they are as that can be (FIRE, arXiv 2602.08040).

    An isometry passes all directions on alike, which keeps what follows plastic; the nearest one keeps what was learnt
    as far as it may be (`isometric`). Published are two forms: of SAC all linear layers, output layers included, and of
    DQN the convolutions, with the linear layers put back to the weights and biases that they began with
    (``linear="restore"``). Of PPO, which the authors do not treat, ours is the first. Biases of isometric layers and
    normalisations stay, and so do the optimizer's moments, as in the authors' DQN; their SAC begins these anew, as does
    ``at_switch: {optimizer: reset}``.

    Args:
        networks: names of the networks whose weights are made so, or ``paper``; None for all that the policy has.
        linear: linear layers become ``isometric``, as convolutions do, or are put back to where they began
            (``restore``).
        period: gradient steps between acts (published: once in a run, of SAC after 500,000); None: at every task
            switch, which the stream must reveal.
        targets: target networks become whole copies of networks that are changed (``copy``), as published, or are left
            to follow (``leave``).
    """

    name = "fire"

    def __init__(
        self,
        *,
        networks: Networks = None,
        linear: Literal["isometric", "restore"] = "isometric",
        period: int | None = None,
        targets: Targets = "copy",
    ) -> None:
        super().__init__(networks, period)
        check("linear", linear, linear in ("isometric", "restore"), "isometric or restore")
        check("targets", targets, targets in ("copy", "leave"), "copy or leave")
        self.linear, self.targets = linear, targets

    def attach(self, learner: Learner) -> None:
        super().attach(learner)
        restored = self._networks if self.linear == "restore" else ()
        self._anchors = Anchors(restored, lambda module: isinstance(module, nn.Linear))

    def claims(self) -> dict[str, list[str]]:
        return {"make the weights of {} isometric": self._names}

    @torch.no_grad()
    def act(self, steps: int) -> None:
        changeable = self._changeable()
        changed: dict[Tensor, None] = {}  # in order: sets of tensors have none
        restored: dict[Tensor, None] = {}
        for network in self._networks:
            anchors = self._anchors.of.get(network.name, {})
            for parameter in network.parameters:
                if parameter in changeable and parameter in anchors:
                    parameter.copy_(anchors[parameter])
                    restored[parameter] = None
            for part in network.parts:
                if not isinstance(part.module, nn.Linear | nn.Conv2d):
                    continue
                weight = part.module.weight
                if weight in changeable and weight not in anchors:
                    weight.copy_(isometric(weight))
                    changed[weight] = None
            if self.targets == "copy" and any(p in changed or p in restored for p in network.parameters):
                self._copy(network)
        amounts = {
            layer.name: torch.ones(layer.units, device=layer.producer.weight.device)
            for network in self._networks
            for layer in network.layers
            if layer.producer.weight in restored
        }
        self._learner.announce(Edit(amounts, tuple(restored)), self)

    def _copy(self, network: Network) -> None:
        """To its target network, with biases, normalisations and what an injection froze."""
        frozen = [parameter for head, *_ in network.heads for parameter in head.frozen]
        for parameter in (*network.parameters, *frozen):
            if parameter in self._learner.targets:
                self._learner.targets[parameter].copy_(parameter)

    def on_surgery(self, edit: Edit) -> None:
        """What is new is put back to where it began, not to where that before it did."""
        self._anchors.follow(edit)

    def state_dict(self) -> dict[str, Tensor]:
        return {**super().state_dict(), **self._anchors.state_dict()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._refuse_other_networks(state)
        super().load_state_dict(state)
        self._anchors.load_state_dict(state)
