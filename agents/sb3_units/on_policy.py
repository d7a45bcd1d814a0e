"""The unit graph of SB3's actor-critic policies, which PPO trains."""

from __future__ import annotations

import math

from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from torch import nn

from agents.plasticity.injectable import Injectable
from agents.plasticity.units import Init, Network, Orthogonal, TorchDefault
from agents.sb3_units.extractors import (
    add_mlp,
    computes_as,
    depth,
    extractor_graph,
    first_linear,
    of_type,
    output_layer,
)
from agents.sb3_units.graph import Graph

METHODS = (
    "forward", "extract_features", "evaluate_actions", "get_distribution", "predict_values",
    "_get_action_dist_from_latent",
)  # fmt: skip


def actor_critic_networks(policy: ActorCriticPolicy) -> list[Network]:
    """Actor, critic, and the features that they share, if they do.

    The gains are those of SB3's ``ActorCriticPolicy._build``: sqrt(2) for hidden layers, 0.01 for the actions' layer,
    1 for the values'.

    Raises:
        ValueError: a module is not understood; the message names it.
    """
    computes_as(policy, ActorCriticPolicy, METHODS)
    of_type("actor", policy.mlp_extractor, MlpExtractor)
    pi, action_net = _split("actor", policy.mlp_extractor.policy_net, policy.action_net)
    vf, value_net = _split("critic", policy.mlp_extractor.value_net, policy.value_net)
    pi_head = [(reader, 0) for reader in first_linear("actor", pi, [action_net])]
    vf_head = [(reader, 0) for reader in first_linear("critic", vf, [value_net])]
    init = _init(policy, math.sqrt(2))
    log_std = ((policy.log_std, policy.log_std_init),) if hasattr(policy, "log_std") else ()

    features, actor, critic = Graph(), Graph(), Graph()
    if policy.share_features_extractor:
        heads = [*pi_head, *vf_head]
        features = extractor_graph("features", policy.features_extractor, heads, init, above=1)
    else:
        above_pi, above_vf = depth(pi) + 1, depth(vf) + 1
        actor = extractor_graph("actor", policy.pi_features_extractor, pi_head, init, above=above_pi)
        critic = extractor_graph("critic", policy.vf_features_extractor, vf_head, init, above=above_vf)
    add_mlp(actor, "actor", pi, [(action_net, _init(policy, 0.01))], init)
    add_mlp(critic, "critic", vf, [(value_net, _init(policy, 1.0))], init)
    if policy.use_sde:
        for graph in (features, actor):
            graph.fix_readers_of_noise(action_net)
    return [actor.network("actor", log_std), critic.network("critic"), features.network("features")]


def _split(network: str, hidden: nn.Module, output: nn.Module) -> tuple[list[nn.Module], nn.Linear]:
    """Hidden modules and the output layer, which may be one module together."""
    behind = list(output) if isinstance(output, Injectable) else [output]
    *inner, last = [*hidden.children(), *behind]
    return inner, output_layer(network, last)


def _init(policy: ActorCriticPolicy, gain: float) -> Init:
    return Orthogonal(gain) if policy.ortho_init else TorchDefault()
