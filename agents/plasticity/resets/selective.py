"""Selective weight reinitialisation: single weights, in place of units, are drawn anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor

from agents.plasticity.moments import refuse_unknown_moments, renew_moments
from agents.plasticity.network_intervention import Networks, check_steps, stepped_by
from agents.plasticity.protocols import Edit, Learner, Update
from agents.plasticity.resets.whole import Scheduled
from agents.plasticity.schedule import is_scored
from agents.plasticity.units.inits import Statistics
from agents.plasticity.validation import check


class SWR(Scheduled):
    """Selective weight reinitialisation: draw the least useful weights anew (arXiv 2508.00212).

    A weight's utility is the running mean of |w * dL/dw|, the first-order cost of setting it to 0, or its magnitude
    |w|. At every `period` gradient steps the lowest of each tensor are drawn anew, output layers, biases and
    normalisations included: as many as the rate has accumulated, of which small tensors' fractions wait for the next.
    New values are Gaussian with the mean and variance of the tensor's init; their utility is the tensor's mean,
    and their optimizer moments are new. It needs no map of units, and so serves networks of any architecture. Target
    networks are left to follow. The paper's rate and period were not available to us: the defaults are placeholders.

    Args:
        networks: names of the networks to keep plastic, or ``paper``; None for all that the policy has.
        rate: share of each tensor's weights that is drawn anew per gradient step.
        utility: ``gradient`` or ``magnitude``.
        period: gradient steps between selections.
        decay: of the running mean, per gradient step.
        score_every: one minibatch in so many is scored; the running mean keeps its time constant. Less costs more.
    """

    name = "swr"

    def __init__(
        self,
        *,
        networks: Networks = None,
        rate: float = 1e-5,
        utility: Literal["gradient", "magnitude"] = "gradient",
        period: int = 1000,
        decay: float = 0.99,
        score_every: int = 16,
    ) -> None:
        check("rate", rate, 0 <= rate <= 1, "a share of weights per gradient step between 0 and 1")
        check("utility", utility, utility in ("gradient", "magnitude"), "gradient or magnitude")
        check("decay", decay, 0 <= decay < 1, "a factor from 0 to below 1")
        check_steps("score_every", score_every, 1)
        super().__init__(networks, period)
        self.rate, self.utility, self.decay, self.score_every = rate, utility, decay, score_every

    def attach(self, learner: Learner) -> None:
        super().attach(learner)
        refuse_unknown_moments(learner.optimizers)
        self._utilities: dict[str, dict[Tensor, Tensor]] = {
            network.name: {p: torch.zeros_like(p, requires_grad=False) for p in network.parameters}
            if self.utility == "gradient"
            else {}
            for network in self._networks
        }
        self._scored: set[str] = set()  # networks that can be ranked
        self._redrawn = dict.fromkeys(self._names, 0)

    def claims(self) -> dict[str, list[str]]:
        return {"draw single weights of {} anew": self._names}

    @torch.no_grad()
    def after_backward(self, update: Update) -> None:
        super().after_backward(update)
        if self.utility != "gradient" or not is_scored(update.step, self.score_every):
            return
        trained = stepped_by(update.optimizer)
        seen = [
            (name, p, p.grad, utility)
            for name in self._names
            if name in update.networks
            for p, utility in self._utilities[name].items()
            if p in trained and p.grad is not None
        ]
        if seen:
            names, weights, gradients, utilities = zip(*seen, strict=True)
            products = torch._foreach_mul(weights, gradients)
            torch._foreach_abs_(products)
            # What is not finite is passed over, for it would stay for ever.
            kept = [torch.where(new.isfinite(), new, old) for new, old in zip(products, utilities, strict=True)]
            torch._foreach_lerp_(utilities, kept, 1 - self.decay**self.score_every)
            self._scored.update(names)

    @torch.no_grad()
    def act(self, steps: int) -> None:
        assert self.period is not None
        due = self._steps // self.period * self.period
        self._agree()
        changeable = self._changeable()
        changed: dict[Tensor, Tensor] = {}
        for network in self._networks:
            if self.utility == "gradient" and network.name not in self._scored:
                continue
            for number, part in enumerate(network.parts):
                generator = self._generator("weights", network.name, number, self._steps)
                statistics = dict(zip(("weight", "bias"), part.init.statistics(part.module), strict=True))
                for key, parameter in part.module.named_parameters(recurse=False):
                    accumulated = [int(parameter.numel() * self.rate * step) for step in (due - steps, due)]
                    count = min(accumulated[1] - accumulated[0], parameter.numel())
                    if parameter in changeable and count:
                        utility = self._utilities[network.name].get(parameter)
                        changed[parameter] = _redrawn(parameter, utility, count, statistics[key], generator)
                        self._redrawn[network.name] += count
        renew_moments(self._learner.optimizers, changed)
        if changed:  # too large a step to be compared across, as C-CHAIN does
            self._learner.announce(Edit({}), self)

    def _agree(self) -> None:
        """Rank weights alike in all replicas: on copies that are tried their gradients are not averaged."""
        own = dict(self._kept())
        for key, utility in self._learner.replicas.mean(own).items():
            own[key].copy_(utility)

    def _kept(self) -> Iterator[tuple[str, Tensor]]:
        for name, utilities in self._utilities.items():
            for number, utility in enumerate(utilities.values()):
                yield f"utility/{name}/{number}", utility

    def state_dict(self) -> dict[str, Tensor]:
        kept = {key: utility.clone() for key, utility in self._kept()}
        counts = {
            "scored": torch.tensor([name in self._scored for name in self._names]),
            "redrawn": torch.tensor(list(self._redrawn.values())),
        }
        return {**super().state_dict(), **counts, **kept}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._refuse_other_networks(state)
        super().load_state_dict(state)
        self._scored = {name for name, scored in zip(self._names, state["scored"].tolist(), strict=True) if scored}
        self._redrawn = dict(zip(self._names, state["redrawn"].tolist(), strict=True))
        for key, utility in self._kept():
            utility.copy_(state[key])

    def metrics(self) -> dict[str, float]:
        """``<network>/weights``: how many have been drawn anew since the last row."""
        found = {f"{name}/weights": float(count) for name, count in self._redrawn.items()}
        self._redrawn = dict.fromkeys(self._names, 0)
        return found


def _redrawn(
    parameter: Tensor, utility: Tensor | None, count: int, statistics: Statistics, generator: torch.Generator
) -> Tensor:
    """Draw the lowest `count` entries anew.

    Args:
        parameter: whose entries.
        utility: of each, which the new ones have the mean of; None for their magnitude.
        count: how many.
        statistics: of new entries.
        generator: draws them.

    Returns:
        which entries these were, a bool tensor of the parameter's shape.
    """
    ranked = parameter.abs() if utility is None else utility
    lowest = ranked.flatten().topk(count, largest=False).indices
    fresh = torch.empty(count, dtype=parameter.dtype).normal_(0.0, 1.0, generator=generator)
    fresh = (fresh * statistics.deviation + statistics.mean).to(parameter.device, non_blocking=True)
    mask = torch.zeros(parameter.numel(), dtype=torch.bool, device=parameter.device).index_fill_(0, lowest, True)
    values = torch.zeros(parameter.numel(), dtype=parameter.dtype, device=parameter.device).scatter_(0, lowest, fresh)
    mask = mask.view(parameter.shape)
    parameter.copy_(torch.where(mask, values.view(parameter.shape), parameter))
    if utility is not None:
        utility.copy_(torch.where(mask, utility.mean(), utility))
    return mask
