"""SB3's actors of continuous actions and critics of them, computed as `Perceptrons`."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.sac.policies import Actor as GaussianActor
from stable_baselines3.td3.policies import Actor as TD3Actor
from torch import Tensor

from agents.speed.live import AtOnce
from agents.speed.perceptrons import is_hooked
from agents.speed.squashed import SquashedPair


def q_values(
    at_once: AtOnce, purpose: str, critic: ContinuousCritic, observations: Any, actions: Tensor, *,
    count: int | None = None, frozen: bool = False,
) -> Tensor | None:  # fmt: skip
    """Q-values, (Q-functions, batch, 1), as the critic's own forward gives them; None where it must be asked.

    Args:
        at_once: of the learner.
        purpose: see `AtOnce.perceptrons`.
        critic: whose Q-functions are asked, all at once.
        observations: as the critic takes them.
        actions: (batch, actions).
        count: of the first Q-functions; None for all.
        frozen: gradients do not reach the critic's parameters.
    """
    if not is_asked(critic):
        return None
    found = at_once.perceptrons(purpose, critic.q_networks[:count])
    if found is None:
        return None
    learn = torch.is_grad_enabled() and not (frozen or critic.share_features_extractor)
    with at_once.quick, torch.set_grad_enabled(learn):
        features = critic.extract_features(observations, critic.features_extractor)
    values: Tensor = found(torch.cat([features, actions], dim=1), frozen=frozen)
    return values


def actions_of(at_once: AtOnce, purpose: str, actor: TD3Actor, observations: Any) -> Tensor | None:
    """Actions, (batch, actions), as the actor's own forward gives them; None where it must be asked.

    Args:
        at_once: of the learner.
        purpose: see `AtOnce.perceptrons`.
        actor: of TD3.
        observations: as it takes them.
    """
    if type(actor).forward is not TD3Actor.forward or is_hooked(actor):
        return None
    found = at_once.perceptrons(purpose, [actor.mu])
    if found is None:
        return None
    with at_once.quick:
        features = actor.extract_features(observations, actor.features_extractor)
    actions: Tensor = found(features)[0]
    return actions


def drawn_actions(
    at_once: AtOnce, actor: GaussianActor, observations: Any, ahead: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """Actions of SAC's actor and their log-probabilities, for observations and for those ahead at once.

    Args:
        at_once: of the learner.
        actor: whose they are.
        observations: as it takes them, (batch, ...).
        ahead: likewise; what comes of these takes no gradients.

    Returns:
        (batch, actions), (batch,), (batch, actions), (batch,), drawn as `action_log_prob` draws them one after the
        other; None where it must be asked.
    """
    if actor.use_sde or type(actor.features_extractor) is not FlattenExtractor or is_other(actor):
        return None
    heads: list[Any] = [actor.mu, actor.log_std]  # a parameter with gSDE alone
    found = at_once.perceptrons("actor", [actor.latent_pi], heads)
    if found is None:
        return None
    with at_once.quick:
        features = [actor.extract_features(each, actor.features_extractor) for each in (observations, ahead)]
    now, later = found(*features)
    actions = now.shape[2] // 2
    noise = torch.cat([torch.randn(len(each), actions, dtype=now.dtype, device=now.device) for each in features])
    drawn: tuple[Tensor, Tensor, Tensor, Tensor] = SquashedPair.apply(  # type: ignore[no-untyped-call]
        now[0], later[0], noise, actor.action_dist.epsilon
    )
    return drawn


def is_asked(critic: ContinuousCritic) -> bool:
    """Whether a critic gives what its Q-functions say, and nobody looks into it."""
    return type(critic).forward is ContinuousCritic.forward and not is_hooked(critic)


def is_other(actor: GaussianActor) -> bool:
    """Whether an actor draws in another way than SB3's."""
    asked = ("action_log_prob", "get_action_dist_params", "extract_features")
    changed = any(
        name in vars(actor) or getattr(type(actor), name) is not getattr(GaussianActor, name) for name in asked
    )
    distribution: object = actor.action_dist
    return changed or type(distribution) is not SquashedDiagGaussianDistribution
