"""The unit graphs of SB3's policies for DQN, SAC and TD3. All of their layers have PyTorch's default initialisation."""

from __future__ import annotations

from collections.abc import Sequence

from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from stable_baselines3.sac.policies import Actor, SACPolicy
from stable_baselines3.td3.policies import Actor as TD3Actor
from stable_baselines3.td3.policies import TD3Policy
from torch import nn

from agents.plasticity.units import Network, Part, TorchDefault
from agents.sb3_units.extractors import (
    add_hidden,
    add_mlp,
    depth,
    extractor_graph,
    first_linear,
    of_type,
    output_layer,
)
from agents.sb3_units.graph import Constants, Graph

INIT = TorchDefault()


def dqn_networks(policy: DQNPolicy) -> list[Network]:
    """The Q-network, as ``critic``.

    Raises:
        ValueError: a module is not understood; the message names it.
    """
    q_net = policy.q_net
    of_type("critic", q_net, QNetwork)
    *hidden, last = q_net.q_net
    output = output_layer("critic", last)
    heads = [(reader, 0) for reader in first_linear("critic", hidden, [output])]
    graph = extractor_graph("critic", q_net.features_extractor, heads, INIT, above=depth(hidden) + 1)
    add_mlp(graph, "critic", hidden, [(output, INIT)], INIT)
    return [graph.network("critic")]


def sac_networks(policy: SACPolicy) -> list[Network]:
    """Actor, critic (all Q-functions), and the features that they share, if they do.

    Raises:
        ValueError: a module is not understood; the message names it.
    """
    actor = policy.actor
    of_type("actor", actor, Actor)
    outputs, log_std = _outputs(actor)
    pi, qf, features = _actor_critics(policy, list(actor.latent_pi), outputs)
    if actor.use_sde:
        for graph in (features, pi):
            graph.fix_readers_of_noise(outputs[0])
    return [pi.network("actor", log_std), qf.network("critic"), features.network("features")]


def td3_networks(policy: TD3Policy) -> list[Network]:
    """As `sac_networks`; the actor's output layer is followed by a tanh.

    Raises:
        ValueError: a module is not understood; the message names it.
    """
    of_type("actor", policy.actor, TD3Actor)
    *hidden, last, squashing = policy.actor.mu
    of_type("actor", squashing, nn.Tanh)
    pi, qf, features = _actor_critics(policy, hidden, [output_layer("actor", last)])
    return [pi.network("actor"), qf.network("critic"), features.network("features")]


def _actor_critics(
    policy: SACPolicy | TD3Policy, hidden: Sequence[nn.Module], outputs: Sequence[nn.Linear]
) -> tuple[Graph, Graph, Graph]:
    """The graphs of an actor, of the critics of its actions, and of the features that they share.

    A Q-function's first layer reads the features from its first column on, and behind them the action.

    Args:
        policy: that has them.
        hidden: the actor's modules before its output layers.
        outputs: the layers that read the last of them.

    Raises:
        ValueError: a module is not understood; the message names it.
    """
    actor, critic = policy.actor, policy.critic
    of_type("critic", critic, ContinuousCritic)
    q_nets = [_split(f"critic.qf{number}", q_net) for number, q_net in enumerate(critic.q_networks)]
    pi_heads = [(reader, 0) for reader in first_linear("actor", hidden, outputs)]
    q_heads = [(reader, 0) for name, inner, output in q_nets for reader in first_linear(name, inner, [output])]

    features, pi, qf = Graph(), Graph(), Graph()
    if policy.share_features_extractor:
        heads = [*pi_heads, *q_heads]
        features = extractor_graph("features", actor.features_extractor, heads, INIT, above=1)
    else:
        above_pi, above_qf = depth(hidden) + 1, depth(q_nets[0][1]) + 1
        pi = extractor_graph("actor", actor.features_extractor, pi_heads, INIT, above=above_pi)
        qf = extractor_graph("critic", critic.features_extractor, q_heads, INIT, above=above_qf)
    add_mlp(pi, "actor", hidden, [(output, INIT) for output in outputs], INIT)
    for name, inner, output in q_nets:
        add_hidden(qf, "critic", name, inner, [(output, 0)], INIT)
        qf.parts.append(Part(output, INIT, 0))
    return pi, qf, features


def _split(name: str, q_net: nn.Module) -> tuple[str, list[nn.Module], nn.Linear]:
    """A Q-function's hidden modules and its output layer."""
    *hidden, last = q_net.children()
    return name, hidden, output_layer(name, last)


def _outputs(actor: Actor) -> tuple[list[nn.Linear], Constants]:
    """The layers that read the actor's last hidden one; with gSDE one of its readers is a parameter, not a layer."""
    mu: nn.Module = actor.mu
    log_std: nn.Module | nn.Parameter = actor.log_std
    if isinstance(log_std, nn.Module):
        return [output_layer("actor", mu), output_layer("actor", log_std)], ()
    if type(mu) is nn.Sequential and len(mu) == 2 and type(mu[1]) is nn.Hardtanh:
        mu = mu[0]  # SB3 clips the mean
    return [output_layer("actor", mu)], ((log_std, actor.log_std_init),)
