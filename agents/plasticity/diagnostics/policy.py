"""How undecided a policy is. A policy is a sequence of distributions, one per independent part of an action."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution

SATURATED = 0.999


def entropy(policy: Sequence[Distribution]) -> Tensor:
    """Entropy of the action, summed over its independent parts, mean over states; in nats.

    Raises:
        NotImplementedError: a part has no closed form of its entropy.
    """
    return torch.stack([part.entropy().unsqueeze(-1).flatten(1).sum(1) for part in policy]).sum(0).mean()


def is_discrete(policy: Sequence[Distribution]) -> bool:
    """Whether `saturation` is defined: there are parts, and each is categorical or a set of coins."""
    return bool(policy) and all(isinstance(part, Categorical | Bernoulli) for part in policy)


def saturation(policy: Sequence[Distribution], threshold: float = SATURATED) -> Tensor:
    """Share of states whose most likely action has a probability above the threshold.

    Args:
        policy: categorical parts, (states,), or coins, (states, dimensions). The most likely action's probability is
            the product of the parts' largest ones.
        threshold: a policy above it hardly explores, and its policy gradient has all but vanished.
    """
    largest = torch.stack([_largest(part) for part in policy]).prod(0)
    share: Tensor = torch.where(largest.isnan(), largest, (largest > threshold).to(largest.dtype)).mean()
    return share


def _largest(part: Distribution) -> Tensor:
    """Probability of the part's most likely value, (states,)."""
    if isinstance(part, Bernoulli):
        coins: Tensor = torch.maximum(part.probs, 1 - part.probs).unsqueeze(-1).flatten(1).prod(1)
        return coins
    assert isinstance(part, Categorical)
    return part.probs.amax(-1)
