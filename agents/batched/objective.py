"""PPO's loss on minibatches of several agents at once, with its gradients written out.

The loss is that of `agents.ppo.PPO.losses`; `tests/agents/batched` holds it, and its gradients, to that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from agents.batched.bank import Networks
from agents.batched.layers import backward, forward
from agents.batched.shapes import LOGITS
from agents.networks.distributions import HALF_LOG_2PI


class Settings(NamedTuple):
    """What scales the terms of the loss.

    Attributes:
        clip_range: of the ratio, (agents, 1).
        clip_range_vf: of the values, (agents, 1); None for no clipping.
        ent_coef: (agents, 1).
        vf_coef: (agents, 1).
    """

    clip_range: Tensor
    clip_range_vf: Tensor | None
    ent_coef: Tensor
    vf_coef: Tensor


class Minibatch(NamedTuple):
    """Transitions of several agents, (agents, batch, ...).

    Attributes:
        features: what the networks see, (agents, batch, inputs).
        actions: indices (agents, batch, 1), or numbers (agents, batch, actions).
        old_values: that the critic gave in the rollout.
        old_log_prob: of the actions, in the rollout.
        advantages: normalised where that is wanted.
        returns: of the rollout.
    """

    features: Tensor
    actions: Tensor
    old_values: Tensor
    old_log_prob: Tensor
    advantages: Tensor
    returns: Tensor


class Samples(NamedTuple):
    """What the terms of the loss, and what is told of a step, are means of; (agents, batch) or to be broadcast to it.

    Attributes:
        surrogate: the clipped objective, to be maximised.
        errors: of the values.
        entropy: of the policy.
        ratio: of the new to the old probability of the actions.
        log_ratio: its logarithm.
    """

    surrogate: Tensor
    errors: Tensor
    entropy: Tensor
    ratio: Tensor
    log_ratio: Tensor


@torch.no_grad()
def gradients(networks: Networks, head: str, batch: Minibatch, settings: Settings, into: Networks) -> Samples:
    """Put the gradients of each agent's loss on its minibatch where `into` has its parameters.

    Args:
        networks: of all agents.
        head: what their actors put out, see `Shapes`.
        batch: a minibatch of each.
        settings: of their losses.
        into: of their shapes.
    """
    outputs, actor = forward(networks.actor, batch.features)
    values, critic = forward(networks.critic, batch.features)
    policy = _Discrete(outputs, batch.actions) if head == LOGITS else _Normal(outputs, networks.log_std, batch.actions)

    log_ratio = policy.log_prob - batch.old_log_prob
    ratio = torch.exp(log_ratio)
    unclipped = batch.advantages * ratio
    clipped = batch.advantages * torch.clamp(ratio, 1 - settings.clip_range, 1 + settings.clip_range)
    surrogate = torch.min(unclipped, clipped)
    # Where the clipped one is the smaller one, it is constant: no gradient.
    through = torch.where(unclipped <= clipped, unclipped, 0.0)

    values = values.squeeze(-1)
    moved = values - batch.old_values
    if settings.clip_range_vf is not None:
        held = torch.clamp(moved, -settings.clip_range_vf, settings.clip_range_vf)
        errors = batch.old_values + held - batch.returns
        weights = torch.where(held == moved, errors, 0.0)
    else:
        errors = weights = values - batch.returns

    size = ratio.shape[1]
    at_outputs = policy.backward(through * (-1 / size), settings.ent_coef, into.log_std)
    backward(networks.actor, actor, at_outputs, into.actor)
    at_values = weights * (settings.vf_coef * (2 / size))
    backward(networks.critic, critic, at_values.unsqueeze(-1), into.critic)
    return Samples(surrogate, errors, policy.entropy, ratio, log_ratio)


class _Discrete:
    """Categorical distributions with these logits (agents, batch, actions)."""

    def __init__(self, logits: Tensor, actions: Tensor) -> None:
        self._actions = actions
        self._logits = torch.log_softmax(logits, -1)
        self._probabilities = torch.exp(self._logits)
        self.log_prob = self._logits.gather(-1, actions).squeeze(-1)
        self.entropy = -(self._probabilities * self._logits).sum(-1)

    def backward(self, at_log_prob: Tensor, ent_coef: Tensor, _: Tensor | None) -> Tensor:
        """The gradient at the logits."""
        share = ent_coef / self.entropy.shape[1]
        # d log p(a) = 1[a] - p, and d entropy = -p (log p + entropy).
        spread = share.unsqueeze(-1) * (self._logits + self.entropy.unsqueeze(-1)) - at_log_prob.unsqueeze(-1)
        return spread.mul_(self._probabilities).scatter_add_(-1, self._actions, at_log_prob.unsqueeze(-1))


class _Normal:
    """Independent normal distributions with these means (agents, batch, actions)."""

    def __init__(self, means: Tensor, log_std: Tensor | None, actions: Tensor) -> None:
        assert log_std is not None
        self._deviations = torch.exp(log_std).unsqueeze(1)
        self._scores = (actions - means) / self._deviations
        self.log_prob = -(self._scores.square() / 2 + log_std.unsqueeze(1) + HALF_LOG_2PI).sum(-1)
        self.entropy = (log_std + (0.5 + HALF_LOG_2PI)).sum(-1, keepdim=True).expand_as(self.log_prob)

    def backward(self, at_log_prob: Tensor, ent_coef: Tensor, into: Tensor | None) -> Tensor:
        """The gradient at the means; that of the logarithms of the deviations is put into `into`."""
        assert into is not None
        weights = at_log_prob.unsqueeze(-1)
        torch.sum(weights * (self._scores.square() - 1), 1, out=into)
        into -= ent_coef
        return weights * self._scores / self._deviations


@torch.no_grad()
def losses(samples: Sequence[Samples], settings: Settings) -> Mapping[str, Tensor]:
    """The terms of the loss, as `PPO.losses` names them, (steps, agents): of each of `samples` in turn."""
    surrogate, errors, entropy, ratio, log_ratio = (torch.stack(each) for each in zip(*samples, strict=True))
    policy_loss = -surrogate.mean(-1)
    value_loss = errors.square().mean(-1)
    entropy_loss = -entropy.mean(-1)
    actor_loss = policy_loss + settings.ent_coef.squeeze(-1) * entropy_loss
    return {
        "loss": actor_loss + settings.vf_coef.squeeze(-1) * value_loss,
        "actor_loss": actor_loss,
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy_loss": entropy_loss,
        "approx_kl": ((ratio - 1) - log_ratio).mean(-1),
        "clip_fraction": ((ratio - 1).abs() > settings.clip_range).to(ratio.dtype).mean(-1),
    }


@torch.no_grad()
def normalized(advantages: Tensor) -> Tensor:
    """Advantages (..., batch) as `PPO` normalises those of a minibatch; as they are where it is one alone."""
    if advantages.shape[-1] <= 1:
        return advantages
    deviation, mean = torch.std_mean(advantages, -1, keepdim=True)
    return (advantages - mean) / (deviation + 1e-8)
