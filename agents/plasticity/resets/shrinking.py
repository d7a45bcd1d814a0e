"""Shrinking all weights, and adding fresh ones or pulling them back to where they began."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from agents.plasticity.anchors import Anchors
from agents.plasticity.network_intervention import Networks
from agents.plasticity.protocols import Edit, Learner
from agents.plasticity.resets.whole import Scheduled
from agents.plasticity.units import Network, Part
from agents.plasticity.validation import check


class ShrinkAndPerturb(Scheduled):
    """Shrink all weights and add fresh ones, or pull them to where they began (arXiv 1910.08475).

    Modes: ``soft`` makes a tiny step of theta <- shrink * theta + perturb * fresh at every gradient step, fresh being
    Gaussian with the mean and variance of each tensor's init; ``boundary`` makes one large step at every revealed task
    switch, with weights drawn as the layers were; ``to_init`` is theta <- shrink * theta + (1 - shrink) * theta_0 at
    every gradient step. The steps of a period are made at once: the shrinking multiplied up, the noise with the
    variance of its sum. Optimizer moments and target networks are left alone.

    Args:
        networks: names of the networks to keep plastic, or ``paper``; None for all that the policy has.
        mode: ``soft``, ``boundary`` or ``to_init``.
        shrink: factor on the weights; None for 1 - 1e-6, in ``boundary`` mode 0.5.
        perturb: factor on the fresh weights; None for 1e-6, in ``boundary`` mode 0.5; not in ``to_init`` mode.
        period: gradient steps between changes; None for 1,000, or the published 1 with ``paper``; not in ``boundary``
            mode.
        paper: the published period.
    """

    name = "shrink_and_perturb"

    def __init__(
        self,
        *,
        networks: Networks = None,
        mode: Literal["soft", "boundary", "to_init"] = "soft",
        shrink: float | None = None,
        perturb: float | None = None,
        period: int | None = None,
        paper: bool = False,
    ) -> None:
        check("mode", mode, mode in ("soft", "boundary", "to_init"), "soft, boundary or to_init")
        for key, value in (("shrink", shrink), ("perturb", perturb)):
            check(key, value, value is None or 0 <= value <= 1, "a factor between 0 and 1")
        if mode == "boundary" and period is not None:
            raise ValueError(f"period is {period}, but mode 'boundary' acts at task switches; leave period out")
        if mode == "to_init" and perturb is not None:
            raise ValueError(f"perturb is {perturb}, but mode 'to_init' adds nothing fresh; leave perturb out")
        soft = mode != "boundary"
        super().__init__(networks, ((1 if paper else 1000) if period is None else period) if soft else None)
        self.mode, self.paper = mode, paper
        self.shrink = (1 - 1e-6 if soft else 0.5) if shrink is None else shrink
        self.perturb = None if mode == "to_init" else (1e-6 if soft else 0.5) if perturb is None else perturb

    def attach(self, learner: Learner) -> None:
        super().attach(learner)
        self._anchors = Anchors(self._networks if self.mode == "to_init" else ())

    def claims(self) -> dict[str, list[str]]:
        if self.mode == "to_init":
            return {"draw the weights of {} to where they began": self._names}
        return {"shrink the weights of {} and add fresh ones": self._names}

    @torch.no_grad()
    def act(self, steps: int) -> None:
        changeable = self._changeable()
        for network in self._networks:
            if self.mode == "to_init":
                for parameter, anchor in self._anchors.of[network.name].items():
                    if parameter in changeable:
                        parameter.lerp_(anchor, 1 - self.shrink**steps)
                continue
            for number, part in enumerate(network.parts):
                fresh = self._fresh if self.mode == "boundary" else partial(self._summed, steps)
                for parameter, added in fresh(network, number, part, changeable):
                    parameter.mul_(self.shrink ** max(steps, 1))
                    parameter.add_(added.to(parameter.device, non_blocking=True), alpha=self.perturb or 0.0)
        if self.mode == "boundary":  # too large a step to be compared across, as C-CHAIN does
            self._learner.announce(Edit({}), self)

    def _summed(
        self, steps: int, network: Network, number: int, part: Part, changeable: set[Tensor]
    ) -> Iterator[tuple[nn.Parameter, Tensor]]:
        """Those of the part's parameters that may be changed, each with what a period adds to it.

        That is the sum over j < steps of shrink^j times a draw of its init's statistics.
        """
        parameters = {key: p for key, p in part.module.named_parameters(recurse=False) if p in changeable}
        if not parameters:
            return  # frozen, or a normalisation that has running statistics alone
        generator = self._generator("noise", network.name, number, self._steps)
        for key, (mean, deviation) in zip(("weight", "bias"), part.init.statistics(part.module), strict=True):
            if key in parameters:
                parameter = parameters[key]
                added = torch.zeros(parameter.shape, dtype=parameter.dtype)
                if deviation:
                    added.normal_(0.0, deviation * math.sqrt(_geometric(self.shrink**2, steps)), generator=generator)
                yield parameter, added.add_(mean * _geometric(self.shrink, steps))

    def on_surgery(self, edit: Edit) -> None:
        """What is new is pulled to where it began, not to where that before it did."""
        self._anchors.follow(edit)

    def state_dict(self) -> dict[str, Tensor]:
        return {**super().state_dict(), **self._anchors.state_dict()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._refuse_other_networks(state)
        super().load_state_dict(state)
        self._anchors.load_state_dict(state)


def _geometric(ratio: float, terms: int) -> float:
    """1 + ratio + ... + ratio^(terms-1)."""
    return float(terms) if ratio == 1 else (1 - ratio**terms) / (1 - ratio)
