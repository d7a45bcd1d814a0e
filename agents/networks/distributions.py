"""Distributions of actions that Stable-Baselines3 has, computed with less around them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import torch
from stable_baselines3.common.distributions import CategoricalDistribution
from torch import Tensor
from torch.distributions import Categorical, Distribution
from torch.nn import functional as F

from agents.plasticity.surgery import may_branch

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
"""What a normal distribution's log-density has beside its scale and its square."""


class LeanCategorical(CategoricalDistribution):
    """SB3's distribution of discrete actions, to the last bit and in the order in which gradients are summed up.

    Torch's object, which checks its arguments and what it is asked for, is made where somebody reads `distribution`.

    Args:
        action_dim: number of actions.
    """

    def __init__(self, action_dim: int) -> None:
        super().__init__(action_dim)
        self._given: Tensor | None = None  # as the network gives them
        self.logits: Tensor | None = None  # normalised
        self._is_finite = False  # as far as that was looked at

    @property  # type: ignore[override]  # an attribute of SB3's
    def distribution(self) -> Categorical | None:
        """Torch's; None before there are logits."""
        return None if self._given is None else Categorical(logits=self._given)

    @distribution.setter
    def distribution(self, given: Categorical | None) -> None:
        self._given = self.logits = None if given is None else given.logits
        self._is_finite = False

    def proba_distribution(self, action_logits: Tensor) -> Self:
        """The distribution of these logits, (batch, actions).

        Raises:
            ValueError: they are no numbers.
        """
        scale = action_logits.logsumexp(dim=-1, keepdim=True)
        # Nor does torch look at numbers that are not there yet; there a look at them would end the graph.
        may_look = not torch.compiler.is_compiling() and _may_look(scale)
        self._is_finite = may_look and math.isfinite(scale.sum().item())
        if may_look and not self._is_finite:
            # Which says what is wrong; asked for, because `torch.compile`, once used, turns it off.
            Categorical(logits=action_logits, validate_args=True)
        self._given, self.logits = action_logits, action_logits - scale
        return self

    def log_prob(self, actions: Tensor) -> Tensor:
        """Of actions (batch,); those of another shape are broadcast, as torch does."""
        assert self.logits is not None
        if actions.shape != self.logits.shape[:-1]:
            found: Tensor = super().log_prob(actions)
            return found
        return self.logits.gather(-1, actions.long().unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        """Of each row, (batch,)."""
        assert self.logits is not None
        logits = torch.clamp(self.logits, min=torch.finfo(self.logits.dtype).min)
        return -(logits * self._probabilities()).sum(-1)

    @torch.no_grad()
    def sample(self) -> Tensor:
        """Actions (batch,), drawn by torch's global generator as `torch.multinomial` draws one of each row.

        That would first look whether they are probabilities; what `proba_distribution` has looked at gives such.
        """
        probabilities = self._probabilities()
        if not self._is_finite:
            return torch.multinomial(probabilities, 1, replacement=True).squeeze(-1)
        return torch.argmax(probabilities / torch.empty_like(probabilities).exponential_(), dim=-1)

    def mode(self) -> Tensor:
        """The likeliest actions, (batch,)."""
        return torch.argmax(self._probabilities(), dim=1)

    def _probabilities(self) -> Tensor:
        assert self.logits is not None
        return F.softmax(self.logits, dim=-1)


def _may_look(scale: Tensor) -> bool:
    """Whether a look at the value delays nothing: a GPU is waited for where games are played, not in an update.

    Numbers that an update has lost are missed there by the next rollout, before anything is drawn of them.
    """
    return may_branch(scale.device) or not scale.requires_grad


@contextmanager
def unchecked(device: torch.device) -> Iterator[None]:
    """Around updates: torch's distributions check nothing that is on a GPU, for every check waits for it.

    Numbers that an update has lost are missed by the next rollout, whose distributions are checked. On a CPU all are.
    """
    if may_branch(device):
        yield
        return
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)
