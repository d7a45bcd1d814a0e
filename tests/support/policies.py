"""Every kind of policy that resets know, in one shape: PPO's, DQN's and SAC's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import small_off_policy
import small_ppo
import torch
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor

from agents.plasticity.units import Network, UnitLayer
from agents.sb3_units import policy_networks, policy_targets

PROBE = 8


@dataclass(frozen=True)
class Case:
    """A policy and what its tests need of it.

    Attributes:
        policy: the module that holds everything, targets too.
        networks: its unit graph, by short name.
        outputs: all outputs on a fixed probe batch in evaluation mode, (batch, outputs): logits or means and values;
            Q-values; SAC's means, log standard deviations (without gSDE) and Q-values. Every module runs once.
        optimizers: all that step on the networks.
        targets: parameter -> target parameter.
        train_step: makes one gradient step with every optimizer, so that they have state.
    """

    policy: BasePolicy
    networks: dict[str, Network]
    outputs: Callable[[], Tensor]
    optimizers: tuple[torch.optim.Optimizer, ...]
    targets: Mapping[Tensor, Tensor]
    train_step: Callable[[], Any]

    @property
    def layers(self) -> list[UnitLayer]:
        return [layer for network in self.networks.values() for layer in network.layers]


def networks_and_outputs(model: Any, train_step: Callable[[], Any]) -> Case:
    """The case of an SB3 agent, ours or stock."""
    policy = model.policy
    optimizers = [getattr(module, "optimizer", None) for module in policy.modules()]
    return Case(
        policy=policy,
        networks=policy_networks(policy),
        outputs=partial(_evaluated, policy, _outputs_of(model)),
        optimizers=tuple(optimizer for optimizer in optimizers if optimizer is not None),
        targets=policy_targets(policy),
        train_step=train_step,
    )


def _evaluated(policy: BasePolicy, outputs: Callable[[], Tensor]) -> Tensor:
    training = policy.training
    policy.set_training_mode(False)
    found = outputs()
    policy.set_training_mode(training)
    return found


def _outputs_of(model: Any) -> Callable[[], Tensor]:
    policy = model.policy
    policy.observation_space.seed(7)
    policy.action_space.seed(7)
    batch = [policy.observation_space.sample() for _ in range(PROBE)]
    observations, _ = policy.obs_to_tensor(
        {key: torch.stack([torch.as_tensor(row[key]) for row in batch]).numpy() for key in batch[0]}
        if isinstance(batch[0], dict)
        else torch.stack([torch.as_tensor(row) for row in batch]).numpy()
    )
    if isinstance(policy, ActorCriticPolicy):
        return partial(_actor_critic, policy, observations)
    if isinstance(policy, DQNPolicy):
        return partial(policy.q_net, observations)
    actions = torch.stack([torch.as_tensor(policy.action_space.sample()) for _ in range(PROBE)])
    return partial(_actor_critics, policy, observations, actions)


def _actor_critic(policy: Any, observations: Any) -> Tensor:
    features = policy.extract_features(observations)
    pi, vf = features if isinstance(features, tuple) else (features, features)
    actor, critic = policy.mlp_extractor.forward_actor(pi), policy.mlp_extractor.forward_critic(vf)
    return torch.cat([policy.action_net(actor), policy.value_net(critic)], 1)


def _actor_critics(policy: Any, observations: Any, actions: Tensor) -> Tensor:
    actor, critic = policy.actor, policy.critic
    pi = actor.extract_features(observations, actor.features_extractor)
    shared = policy.share_features_extractor
    qf = pi if shared else critic.extract_features(observations, critic.features_extractor)
    if isinstance(policy, TD3Policy):
        found = [actor.mu(pi)]
    else:
        latent = actor.latent_pi(pi)
        found = [actor.mu(latent)] if actor.use_sde else [actor.mu(latent), actor.log_std(latent)]
    return torch.cat([*found, *(q_net(torch.cat([qf, actions], 1)) for q_net in critic.q_networks)], 1)


def ppo_case(kind: str) -> Case:
    """The case of a small PPO: one gradient step is one rollout in a single minibatch."""
    model = small_ppo.build(kind, n_steps=8, batch_size=16, n_epochs=1)
    return networks_and_outputs(model, partial(model.learn, 16))


def off_policy_case(kind: str) -> Case:
    """The case of a small stock agent with a replay buffer."""
    model = small_off_policy.build(kind, learning_starts=8)

    def train_step() -> None:
        if model.replay_buffer.size() == 0:
            model.learn(8)  # steps in the world alone
        model.train(gradient_steps=1, batch_size=8)

    return networks_and_outputs(model, train_step)


# Every part of these has another kind.
LEFT_OUT = ("impala-separate", "norm-tanh-gsde", "norm-nature-separate", "norm-impala", "norm-dict")
LEFT_OUT += ("dqn-dict", "sac-dict", "td3-cnn-shared")
POLICIES: dict[str, Callable[[], Case]] = {
    **{f"ppo-{kind}": partial(ppo_case, kind) for kind in small_ppo.ALL if kind not in LEFT_OUT},
    **{kind: partial(off_policy_case, kind) for kind in small_off_policy.KINDS if kind not in LEFT_OUT},
}
