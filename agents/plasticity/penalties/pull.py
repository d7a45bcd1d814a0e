"""Drawing weights to a point, by a term of the loss or beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from agents.plasticity.network_intervention import NetworkIntervention, Networks
from agents.plasticity.penalties.known import with_gradients
from agents.plasticity.protocols import Update
from agents.plasticity.units.builders import NORMS
from agents.plasticity.validation import check


def is_drawn(module: nn.Module) -> bool:
    """Whether the weights of a module are drawn: those of normalisations are not."""
    return not isinstance(module, NORMS)


class Pull(NetworkIntervention, ABC):
    """Draws the weights and biases of some networks to a point.

    Args:
        networks: as in `NetworkIntervention`.
        coefficient: strength; 0 costs nothing.
        decoupled: after the optimizer's step, theta -= lr * `coefficient` * (theta - point), whose strength depends on
            nothing else; or by a term of the loss, `coefficient` * `factor` * |theta - point|^2.
    """

    of_loss = False
    factor: float
    """Of the squares in the loss."""

    def __init__(self, networks: Networks, coefficient: float, decoupled: bool) -> None:
        super().__init__(networks)
        check("coefficient", coefficient, coefficient >= 0, "a number of at least 0")
        self.coefficient, self.decoupled = coefficient, decoupled

    @property
    @abstractmethod
    def points(self) -> Mapping[str, Mapping[Tensor, Tensor]]:
        """Network's name -> parameter -> what it is drawn to, which may be broadcast."""

    def penalty(self, update: Update) -> Tensor | None:
        if self.decoupled or not self.coefficient:
            return None
        pairs = [pair for group in self._groups(update) for pair in group[1]]
        if not pairs:
            return None
        strength = self.coefficient * self.factor
        with torch.no_grad():
            apart = torch._foreach_sub([p for p, _ in pairs], [point for _, point in pairs])
            squares = torch.stack([norm.float() for norm in torch._foreach_norm(apart)]).square().sum()

        def gradients(reached: Tensor) -> list[Tensor]:
            torch._foreach_mul_(apart, 2 * strength * reached)
            return list(apart)

        return with_gradients(strength * squares, [p for p, _ in pairs], gradients)

    @torch.no_grad()
    def after_step(self, update: Update) -> None:
        if not self.decoupled or not self.coefficient:
            return
        for rate, pairs in self._groups(update):
            if isinstance(rate, Tensor):  # of optimizers that are captured in CUDA graphs
                for parameter, point in pairs:
                    parameter.lerp_(point, (rate * self.coefficient).to(parameter.device, parameter.dtype))
            elif pairs:
                parameters, points = zip(*pairs, strict=True)
                self._draw(parameters, points, rate * self.coefficient)

    def _draw(self, parameters: tuple[Tensor, ...], points: tuple[Tensor, ...], share: float) -> None:
        """Take parameters a share of the way to their points."""
        torch._foreach_lerp_(parameters, points, share)

    def _groups(self, update: Update) -> list[tuple[float | Tensor, list[tuple[Tensor, Tensor]]]]:
        """Learning rate, and parameters with their points, of each group of what this update trains now."""
        drawn = self._trained_now(update, self.points)
        groups = update.optimizer.param_groups
        return [(group["lr"], [(p, drawn[p]) for p in group["params"] if p in drawn]) for group in groups]
