"""PPO of discrete actions with less around it: each network is one operation, and draws and losses are one loop."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import Categorical

from agents.clipped_objective import Settings
from agents.networks.distributions import LeanCategorical
from agents.speed.board_networks import BoardNetworks
from agents.speed.boards import Boards, kernels
from agents.speed.few_rows import outputs
from agents.speed.live import AtOnce
from agents.speed.perceptrons import Perceptrons, is_hooked

COMPUTED = ("evaluate_actions", "extract_features", "_get_action_dist_from_latent")
"""What of `ActorCriticPolicy` is computed here in its place."""
PASSED = ("forward", "forward_actor", "forward_critic")
"""Likewise of `MlpExtractor`."""


Gradients = Iterable[tuple[Tensor, Tensor]]
"""Parameters, each with what its ``.grad`` shall be."""
Units = Mapping[Tensor, tuple[Tensor, Tensor]]
"""A hidden layer's weight -> activations, and the loss's gradients there."""


def losses(at_once: AtOnce, policy: ActorCriticPolicy, batch: Any, settings: Settings) -> Mapping[str, Tensor] | None:
    """What `agents.ppo.PPO.losses` gives, within rounding; None where that has to be asked.

    Args:
        at_once: of the learner, which is on a CPU.
        policy: of the learner.
        batch: of a rollout buffer.
        settings: of the loss.

    Raises:
        ValueError: the policy gives what is no number.
    """
    given = _fields(policy, batch)
    if given is None:
        return None
    logits, values = _outputs(at_once, policy, batch.observations, at_once.quick)
    found = _Losses.apply(settings, logits.float(), values.float().flatten(), *given)  # type: ignore[no-untyped-call]
    return dict(zip(kernels().TERMS, found, strict=True))


@torch.no_grad()
def gradients(
    at_once: AtOnce, policy: ActorCriticPolicy, batch: Any, settings: Settings, *, rows: int, looks: Sequence[Tensor]
) -> tuple[Mapping[str, Tensor], Gradients, Units] | None:
    """What `losses` gives, without a graph, and what its backward would; None where these are to be asked.

    Args:
        at_once: as of `losses`.
        policy: likewise.
        batch: likewise.
        settings: likewise.
        rows: of most minibatches, which decide how what is between layers is rounded.
        looks: weights of the hidden layers whose units somebody looks at.

    Returns:
        The losses, parameters with the gradients of ``loss``, and what there is to see, see `Learnt.units`.
    """
    given = _fields(policy, batch)
    networks = None if given is None else _board_networks(at_once, policy, rows)
    if given is None or networks is None or (looks and not {*looks} <= {*networks.producers}):
        return None
    given = given[0].flatten(), *given[1:]
    found = networks.learn(batch.observations, given, _scales(settings, batch.advantages), looks=bool(looks))
    if found is None:
        return None
    losses = dict(zip(kernels().TERMS, found.terms.unbind(), strict=True))
    return losses, zip(networks.parameters, found.gradients, strict=True), found.units


@torch.no_grad()
def actions(
    at_once: AtOnce, policy: ActorCriticPolicy, observations: Any, quickly: AbstractContextManager[Any], *, rows: int
) -> tuple[Tensor, Tensor, Tensor] | None:
    """What a policy's forward gives, within rounding; None where that has to be asked.

    Args:
        at_once: of the learner, which is on a CPU.
        policy: of the learner.
        observations: as it takes them.
        quickly: in which features are computed.
        rows: as of `gradients`: what is played is rounded as what is learnt.

    Returns:
        Actions (batch,), values (batch, 1) and log-probabilities (batch,).

    Raises:
        ValueError: the policy gives what is no number.
    """
    if type(policy.action_dist) is not LeanCategorical or kernels() is None or is_hooked(policy):
        return None
    if _is_other(policy, "forward"):
        return None
    networks = _board_networks(at_once, policy, rows)
    bits = observations.bits if isinstance(observations, Boards) else observations
    given = None if networks is None else networks.outputs(bits)
    logits, values = _outputs(at_once, policy, observations, quickly) if given is None else given
    logits = logits.float().contiguous()
    noise, log_prob = torch.empty_like(logits).exponential_(), logits.new_empty(len(logits))
    found = logits.new_empty(len(logits), dtype=torch.long)
    if not kernels().draw(*(each.numpy() for each in (logits, noise, found, log_prob))):
        Categorical(logits=logits, validate_args=True)  # which says what is wrong, see `LeanCategorical`
    return found, values, log_prob


def _fields(policy: ActorCriticPolicy, batch: Any) -> tuple[Tensor, ...] | None:
    """Of a minibatch, all but observations, as the compiled loss takes them; None where that is not the policy's."""
    if type(policy.action_dist) is not LeanCategorical or kernels() is None or _is_other(policy):
        return None
    given = batch.actions, batch.old_log_prob, batch.advantages, batch.old_values, batch.returns
    plain = all(type(each) is Tensor and each.is_cpu and each.dtype is torch.float32 for each in given)
    return given if plain else None


def _is_other(policy: ActorCriticPolicy, *more: str) -> bool:
    """Whether a policy computes otherwise than SB3's do."""
    return any(
        name in vars(policy) or getattr(type(policy), name) is not getattr(ActorCriticPolicy, name)
        for name in (*COMPUTED, *more)
    )


def _board_networks(at_once: AtOnce, policy: ActorCriticPolicy, rows: int) -> BoardNetworks | None:
    """Actor, critic and what they read boards through; None of others."""
    actor, critic = _perceptrons(at_once, policy) if policy.share_features_extractor else (None, None)
    if actor is None or critic is None:
        return None
    return at_once.board_networks(policy.features_extractor, actor, critic, rows=rows)


def _outputs(
    at_once: AtOnce, policy: ActorCriticPolicy, observations: Any, quickly: AbstractContextManager[Any]
) -> tuple[Tensor, Tensor]:
    """Logits (batch, actions) and values (batch, 1); actor and critic are one operation each where they can."""
    both, learns = policy.mlp_extractor, torch.is_grad_enabled()
    with quickly:
        features = policy.extract_features(observations)
        pi, vf = features if isinstance(features, tuple) else (features, features)
        actor, critic = _perceptrons(at_once, policy) if pi.dim() == vf.dim() == 2 else (None, None)
        if actor is None or critic is None:
            shared = policy.share_features_extractor
            of_pi, of_vf = both(features) if shared else (both.forward_actor(pi), both.forward_critic(vf))
            return policy.action_net(of_pi), policy.value_net(of_vf)
    if not learns:
        return outputs(actor, pi), outputs(critic, vf)
    return actor(pi)[0], critic(vf)[0]


def _perceptrons(at_once: AtOnce, policy: ActorCriticPolicy) -> tuple[Perceptrons | None, Perceptrons | None]:
    """Actor and critic behind the features; None where they are of other layers, or somebody looks into them."""
    both = policy.mlp_extractor
    if type(both) is not MlpExtractor or is_hooked(both) or any(name in vars(both) for name in PASSED):
        return None, None
    return (
        at_once.perceptrons("actor", [both.policy_net], [policy.action_net]),
        at_once.perceptrons("critic", [both.value_net], [policy.value_net]),
    )


def _scales(settings: Settings, advantages: Tensor) -> tuple[int, float, float, float, float, float, float]:
    """What `agents.speed.kernels.proximal` is given of settings, for a minibatch with these advantages, (batch,)."""
    size, normalizes = len(advantages), settings.normalize_advantage and len(advantages) > 1
    mean, deviation = kernels().scale_of(advantages.detach().contiguous().numpy()) if normalizes else (0.0, 1.0)
    clip_range_vf = math.inf if settings.clip_range_vf is None else settings.clip_range_vf
    return size, mean, deviation, settings.clip_range, clip_range_vf, settings.ent_coef, settings.vf_coef


class _Losses(torch.autograd.Function):
    """Terms of the loss, each of which can be differentiated but the two that only tell of the step's size."""

    @staticmethod
    def forward(
        ctx: Any, settings: Settings, logits: Tensor, values: Tensor, actions: Tensor, old_log_prob: Tensor,
        advantages: Tensor, old_values: Tensor, returns: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        at_policy, at_entropy = logits.new_empty(logits.shape), logits.new_empty(logits.shape)
        at_values, terms = torch.empty_like(values), logits.new_empty(len(kernels().TERMS))
        given = logits, actions.flatten(), old_log_prob, advantages, values, old_values, returns
        written = at_policy, at_entropy, at_values, terms
        are_numbers = kernels().proximal(
            *(each.detach().contiguous().numpy() for each in given),
            *_scales(settings, advantages),
            *(each.numpy() for each in written),
        )
        if not are_numbers:
            # Which says what is wrong, see `LeanCategorical`.
            Categorical(logits=logits.detach(), validate_args=True).log_prob(actions.flatten())
        ctx.settings, ctx.gradients = settings, (at_policy, at_entropy, at_values)
        ctx.set_materialize_grads(False)
        found = terms.unbind()
        ctx.mark_non_differentiable(*found[5:])
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *at_terms: Tensor | None) -> tuple[Tensor | None, ...]:
        loss, actor, policy, value, entropy = (0.0 if each is None else each.item() for each in at_terms[:5])
        at_policy, at_entropy, at_values = ctx.gradients
        of_policy, of_entropy = loss + actor + policy, ctx.settings.ent_coef * (loss + actor) + entropy
        at_logits = torch.add(at_policy * of_policy, at_entropy, alpha=of_entropy)
        return None, at_logits, at_values * (ctx.settings.vf_coef * loss + value), *[None] * 5
