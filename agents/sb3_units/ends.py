"""Where SB3's policies meet their world: what reads observations, and what reads actions or puts them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from stable_baselines3.common.policies import ActorCriticPolicy, ContinuousCritic
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from agents.networks.extractors import ImpalaCNN, MinAtarCNN
from agents.plasticity.injectable import Injectable


class Axis(Enum):
    """By what an axis of a parameter is counted that another world may have more or fewer of."""

    OBSERVATIONS = auto()
    """The channels of images, or the values of a vector."""
    PLACES = auto()
    """The places of maps, or what reads each with a weight of its own."""
    FEATURES_AND_ACTIONS = auto()
    """What a Q-function reads: features, or the values of a vector, and behind them an action."""
    ACTIONS = auto()
    """Actions to choose from, or the dimensions of one."""


Axes = tuple[Axis | None, ...]
"""Of one parameter; None where the world has nothing to do with it."""


@dataclass(frozen=True)
class Ends:
    """Of a policy, but for its target networks.

    Attributes:
        extractors: (features extractor, layers that read its features alone).
        critics: the first layers of Q-functions, which read features and actions.
        outputs: layers with a row for each action.
        deviation: the parameter of standard deviations, its last axis the actions', if it is no layer.
    """

    extractors: Sequence[tuple[nn.Module, Sequence[nn.Linear]]]
    outputs: Sequence[nn.Linear]
    critics: Sequence[nn.Linear] = ()
    deviation: Tensor | None = None

    @property
    def actions(self) -> int:
        """How many actions there are to choose from, or how many dimensions one has."""
        return self.outputs[0].out_features


def actor_critic_ends(policy: ActorCriticPolicy) -> Ends:
    """PPO's."""
    both = policy.mlp_extractor
    pi, vf = _linears(both.policy_net, policy.action_net), _linears(both.value_net, policy.value_net)
    if policy.share_features_extractor:
        extractors = [(policy.features_extractor, [pi[0], vf[0]])]
    else:
        extractors = [(policy.pi_features_extractor, [pi[0]]), (policy.vf_features_extractor, [vf[0]])]
    return Ends(extractors, [pi[-1]], deviation=getattr(policy, "log_std", None))


def dqn_ends(policy: DQNPolicy) -> Ends:
    """DQN's."""
    layers = _linears(policy.q_net.q_net)
    return Ends([(policy.q_net.features_extractor, [layers[0]])], [layers[-1]])


def sac_ends(policy: SACPolicy) -> Ends:
    """SAC's."""
    actor = policy.actor
    log_std: Any = actor.log_std
    is_layer = isinstance(log_std, nn.Module)
    outputs = _linears(actor.mu, *([log_std] if is_layer else []))
    readers = _linears(actor.latent_pi)[:1] or outputs
    return _with_critics(policy, Ends([(actor.features_extractor, readers)], outputs), None if is_layer else log_std)


def td3_ends(policy: TD3Policy) -> Ends:
    """TD3's."""
    layers = _linears(policy.actor.mu)
    return _with_critics(policy, Ends([(policy.actor.features_extractor, [layers[0]])], [layers[-1]]))


def _with_critics(policy: SACPolicy | TD3Policy, actor: Ends, deviation: Tensor | None = None) -> Ends:
    critic: ContinuousCritic = policy.critic
    extractors = [*actor.extractors, (critic.features_extractor, [])]
    return Ends(extractors, actor.outputs, [_linears(q_net)[0] for q_net in critic.q_networks], deviation)


def _linears(*modules: nn.Module) -> list[nn.Linear]:
    """The linear layers of modules, in execution order."""
    return [layer for module in modules for layer in module.modules() if isinstance(layer, nn.Linear)]


def axes_of(ends: Ends, heads: Sequence[Injectable], *, vector: bool) -> dict[Tensor, Axes]:
    """Parameter -> what its axes are counted by; those that no world has anything to do with are left out.

    Args:
        ends: of the policy.
        heads: that plasticity can be injected into: their frozen parameters are as those that learn.
        vector: the observations are vectors.
    """
    found: dict[Tensor, Axes] = {}
    flat = any(type(extractor) is FlattenExtractor for extractor, _ in ends.extractors)
    observed = Axis.OBSERVATIONS if vector else Axis.PLACES
    for extractor, readers in ends.extractors:
        found |= _of_extractor(extractor)
        found |= {layer.weight: (None, observed) for layer in readers if type(extractor) is FlattenExtractor}
    joint = Axis.PLACES if flat and not vector else Axis.FEATURES_AND_ACTIONS
    found |= {layer.weight: (None, joint) for layer in ends.critics}
    for layer in ends.outputs:
        found[layer.weight] = (Axis.ACTIONS, found.get(layer.weight, (None, None))[1])
        found[layer.bias] = (Axis.ACTIONS,)
    if ends.deviation is not None and ends.deviation.shape[-1] == ends.actions:  # else one for all of them
        found[ends.deviation] = (*[None] * (ends.deviation.dim() - 1), Axis.ACTIONS)
    for head in heads:
        found |= {frozen: found[live] for live in head.live if live in found for frozen in head.frozen_like(live)}
    return found


def _of_extractor(extractor: nn.Module) -> dict[Tensor, Axes]:
    if type(extractor) not in (NatureCNN, MinAtarCNN, ImpalaCNN):
        return {}
    found: dict[Tensor, Axes] = {}
    first = next(module for module in extractor.modules() if isinstance(module, nn.Conv2d))
    found[first.weight] = (None, Axis.OBSERVATIONS, None, None)
    for module in extractor.modules():
        if isinstance(module, nn.Linear):
            found[module.weight] = (None, Axis.PLACES)
        elif not isinstance(module, nn.Conv2d):  # normalisations of maps: (channels, height, width)
            own = module.parameters(recurse=False)
            found |= {each: (None, Axis.PLACES, Axis.PLACES) for each in own if each.dim() == 3}
    return found
