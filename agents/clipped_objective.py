"""PPO's objective (arXiv 1707.06347): the clipped surrogate, the entropy bonus and the error of the values.

Pure functions of what the policy says of transitions, operation by operation as Stable-Baselines3 has them, to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from agents.buffers.sampling import RolloutBatch


class Settings(NamedTuple):
    """Of the loss.

    Attributes:
        normalize_advantage: over the minibatch.
        clip_range: of the ratio.
        clip_range_vf: of the values; None for no clipping.
        ent_coef: of the entropy's term.
        vf_coef: of the values' term.
    """

    normalize_advantage: bool
    clip_range: float
    clip_range_vf: float | None
    ent_coef: float
    vf_coef: float


class Samples(NamedTuple):
    """What the terms of the loss are means of, (batch,) each.

    Attributes:
        surrogate: the clipped objective, to be maximised.
        values: clipped where they are.
        entropy: of the policy.
        log_prob: of the actions.
        ratio: of the new to the old probability of the actions.
    """

    surrogate: Tensor
    values: Tensor
    entropy: Tensor
    log_prob: Tensor
    ratio: Tensor


def evaluated(
    values: Tensor, log_prob: Tensor, entropy: Tensor | None, batch: RolloutBatch, settings: Settings
) -> Samples:
    """The samples of a minibatch.

    Args:
        values: of its observations, (batch,).
        log_prob: of its actions, (batch,).
        entropy: of the policy, (batch,); None where it has no closed form and is estimated by the actions.
        batch: the minibatch.
        settings: of the loss.
    """
    advantages = batch.advantages
    if settings.normalize_advantage and len(advantages) > 1:
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    ratio = torch.exp(log_prob - batch.old_log_prob)
    unclipped = advantages * ratio
    clipped = advantages * torch.clamp(ratio, 1 - settings.clip_range, 1 + settings.clip_range)
    if (reach := settings.clip_range_vf) is not None:
        values = batch.old_values + torch.clamp(values - batch.old_values, -reach, reach)
    return Samples(
        surrogate=torch.min(unclipped, clipped),
        values=values,
        entropy=-log_prob if entropy is None else entropy,
        log_prob=log_prob,
        ratio=ratio,
    )


def losses(samples: Samples, batch: RolloutBatch, settings: Settings) -> Mapping[str, Tensor]:
    """The loss of a minibatch and its terms, and two measures of the step's size; see `agents.ppo.PPO.losses`."""
    policy_loss = -samples.surrogate.mean()
    value_loss = F.mse_loss(batch.returns, samples.values)
    entropy_loss = -torch.mean(samples.entropy)
    actor_loss = policy_loss + settings.ent_coef * entropy_loss
    with torch.no_grad():
        log_ratio = samples.log_prob - batch.old_log_prob
        approx_kl = torch.mean((torch.exp(log_ratio) - 1) - log_ratio)
        clip_fraction = torch.mean((torch.abs(samples.ratio - 1) > settings.clip_range).float())
    return {
        "loss": actor_loss + settings.vf_coef * value_loss,
        "actor_loss": actor_loss,
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy_loss": entropy_loss,
        "approx_kl": approx_kl,
        "clip_fraction": clip_fraction,
    }


def sample_losses(samples: Samples, batch: RolloutBatch, settings: Settings) -> Tensor:
    """The loss of each transition, (batch,), whose mean is that of `losses`."""
    errors = F.mse_loss(batch.returns, samples.values, reduction="none")
    return -samples.surrogate - settings.ent_coef * samples.entropy + settings.vf_coef * errors
