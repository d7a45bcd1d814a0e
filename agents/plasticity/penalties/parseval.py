"""Parseval regularisation: the rows of hidden layers are held orthogonal and of one length."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from agents.plasticity.isometry import gap, slope
from agents.plasticity.network_intervention import NetworkIntervention, Networks, check_steps
from agents.plasticity.penalties.known import with_gradients
from agents.plasticity.protocols import Learner, Update
from agents.plasticity.schedule import is_scored
from agents.plasticity.units import Network, Part
from agents.plasticity.validation import check

WIDTH = 64  # of the layers for which the coefficient is published


class Held(NamedTuple):
    """What is held of a weight.

    Attributes:
        square: what the square of each row's length is drawn to.
        scale: factor on its term.
    """

    square: float
    scale: float


class Parseval(NetworkIntervention):
    """Parseval regularisation: hold the rows of hidden layers orthogonal, and their length (arXiv 2412.07224).

    The loss is L + `coefficient` * sum over hidden linear layers of (64 / width)^2 * |W W^T - s I|^2 (Frobenius), width
    being the layer's units. Where a layer has more units than inputs no rows can be orthogonal, and its columns are
    held so (W^T W), which is ours. Published is s = 2, the square of the gain that PPO's hidden layers are drawn with;
    ours, the same for these, is the square that rows of each layer begin with on average. Convolutions, output layers
    and biases are left alone, as published. Published is a term at every gradient step; ours is at one step in `every`,
    with `every` times the coefficient.

    Args:
        networks: names of the networks whose layers are held, or ``paper``; None for all that the policy has.
        coefficient: strength; 0 costs nothing. Published are 1e-3, and 1e-4 for longer tasks. More holds layers nearer
            to orthogonal ones.
        every: gradient steps, of which one has the term; None for 4, or the published 1 with `paper`. Less is dearer.
        paper: squares of 2, rows alone, and a term at every step.
    """

    name = "parseval"
    of_loss = False

    def __init__(
        self,
        *,
        networks: Networks = None,
        coefficient: float = 1e-3,
        every: int | None = None,
        paper: bool = False,
    ) -> None:
        super().__init__(networks)
        check("coefficient", coefficient, coefficient >= 0, "a number of at least 0")
        if every is not None:
            check_steps("every", every, 1)
        self.coefficient, self.paper = coefficient, paper
        self.every = (1 if paper else 4) if every is None else every

    def attach(self, learner: Learner) -> None:
        super().attach(learner)
        self._held = {name: self._of(learner.networks[name]) for name in self._names}
        if not any(self._held.values()):
            raise ValueError(
                f"{self.name}: {' and '.join(self._names)} has no hidden linear layer; give it one with net_arch"
            )

    def _of(self, network: Network) -> dict[Tensor, Held]:
        parts = [part for part in network.parts if part.height and isinstance(part.module, nn.Linear)]
        return {part.module.weight: self._drawn_to(part) for part in parts}  # type: ignore[misc]

    def _drawn_to(self, part: Part) -> Held:
        weight = part.module.weight
        assert isinstance(weight, Tensor)
        square = max(weight.shape) * part.init.statistics(part.module)[0].deviation ** 2
        return Held(2.0 if self.paper else square, (WIDTH / len(weight)) ** 2)

    def claims(self) -> dict[str, list[str]]:
        return {"hold the rows of {} orthogonal": self._names}

    @torch.no_grad()
    def penalty(self, update: Update) -> Tensor | None:
        if not self.coefficient or not is_scored(update.step, self.every):
            return None
        held = self._trained_now(update, self._held)
        if not held:
            return None
        strength = self.every * self.coefficient
        gaps = [self._gap(weight, each) for weight, each in held.items()]
        scaled = [each.scale * found.float().square().sum() for found, each in zip(gaps, held.values(), strict=True)]
        value = strength * torch.stack(scaled).sum()

        def gradients(reached: Tensor) -> list[Tensor]:
            slopes = [slope(found, weight) for found, weight in zip(gaps, held, strict=True)]
            return [
                along * (4 * strength * each.scale * reached).to(along.dtype)
                for along, each in zip(slopes, held.values(), strict=True)
            ]

        with torch.enable_grad():
            return with_gradients(value, list(held), gradients)

    def _gap(self, weight: Tensor, held: Held) -> Tensor:
        return gap(weight, held.square, rows=self.paper)

    @torch.no_grad()
    def metrics(self) -> dict[str, float]:
        """``<network>/distance``: root mean square, over its layers' entries, of W W^T - s I."""
        found = {}
        for name, held in self._held.items():
            if self.coefficient and held:
                gaps = [self._gap(weight, each) for weight, each in held.items()]
                squares = torch.stack([each.float().square().sum() for each in gaps]).sum()
                found[f"{name}/distance"] = float(squares / sum(each.numel() for each in gaps)) ** 0.5
        return found
