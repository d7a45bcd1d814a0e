"""How much outputs and policies have changed on the same states (churn, arXiv 2409.04792)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, kl_divergence
from torch.nn import functional as F


def squared_change(old: Tensor, new: Tensor) -> Tensor:
    """Mean squared change of outputs, both of shape (states, outputs)."""
    return (new - old).square().mean()


def absolute_change(old: Tensor, new: Tensor) -> Tensor:
    """Mean absolute change of outputs, both of shape (states, outputs)."""
    return (new - old).abs().mean()


def greedy_change(old: Tensor, new: Tensor) -> Tensor:
    """Share of states whose greedy action changed; values of both have shape (states, actions)."""
    return (old.argmax(1) != new.argmax(1)).double().mean()


def policy_change(old: Sequence[Distribution], new: Sequence[Distribution]) -> Tensor:
    """KL(old || new), summed over the independent parts of an action, mean over states; in nats.

    Args:
        old: one distribution per part, each of batch shape (states,) or (states, dimensions).
        new: the same parts now.

    Raises:
        NotImplementedError: torch knows no divergence between these two kinds.
    """
    parts = [_kl(before, after).flatten(1).sum(1) for before, after in zip(old, new, strict=True)]
    return torch.stack(parts).sum(0).mean()


def _kl(old: Distribution, new: Distribution) -> Tensor:
    """(states, dimensions); finite wherever the logits are."""
    # torch's own divergences are infinite where a float32 probability has rounded to 0 or 1, which is what the
    # probabilities of a saturated policy do.
    if isinstance(old, Categorical) and isinstance(new, Categorical):
        before, after = (F.log_softmax(part.logits.double(), -1) for part in (old, new))
        p = before.exp()
        return torch.where(p > 0, p * (before - after), 0).sum(-1).unsqueeze(-1)
    if isinstance(old, Bernoulli) and isinstance(new, Bernoulli):
        before, after = old.logits.double(), new.logits.double()
        one = before.sigmoid() * (F.logsigmoid(before) - F.logsigmoid(after))
        return one + (-before).sigmoid() * (F.logsigmoid(-before) - F.logsigmoid(-after))
    return kl_divergence(old, new).unsqueeze(-1)
