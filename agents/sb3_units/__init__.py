"""The unit graphs of Stable-Baselines3's policies: which layers can be reset, and who reads their units."""

from __future__ import annotations

from collections.abc import Sequence

from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from agents.plasticity.units import Network
from agents.plasticity.units.builders import refuse_changed
from agents.sb3_units.off_policy import dqn_networks, sac_networks, td3_networks
from agents.sb3_units.on_policy import actor_critic_networks

__all__ = ["policy_networks", "policy_targets"]


def policy_networks(policy: BasePolicy) -> dict[str, Network]:
    """The networks of a policy, with hidden units or without.

    Returns:
        Short name -> network, in this order where they are there:

        - PPO: ``actor``, ``critic``, and ``features`` where both share a features extractor. An extractor of its own
          counts to its network: its layers come first there.
        - DQN: ``critic``, the features extractor's layers first.
        - SAC and TD3: ``actor``; ``critic``, whose layers are ``critic.0`` ... for its features extractor and
          ``critic.qf0.0``, ``critic.qf1.0`` ... for each Q-function; and ``features`` where they share an extractor.

    Raises:
        ValueError: a module is not understood, or stands in two places; the message names it.
    """
    for path, module in policy.named_modules():
        refuse_changed(path or "policy", module)
    if isinstance(policy, ActorCriticPolicy):
        networks = actor_critic_networks(policy)
    elif isinstance(policy, DQNPolicy):
        networks = dqn_networks(policy)
    elif isinstance(policy, SACPolicy):
        networks = sac_networks(policy)
    elif isinstance(policy, TD3Policy):
        networks = td3_networks(policy)
    else:
        raise ValueError(
            f"the policy {type(policy).__name__} is not understood; resets know SB3's ActorCriticPolicy (PPO), "
            f"DQNPolicy, SACPolicy and TD3Policy"
        )
    _check_complete(policy, networks)
    return {network.name: network for network in networks if network.parts}


def _check_complete(policy: BasePolicy, networks: Sequence[Network]) -> None:
    """Refuse what two networks share, and parameters that no network holds: they may read units, too.

    Raises:
        ValueError: there is such a thing.
    """
    owners: dict[Tensor | nn.Module, str] = {}
    for network in networks:
        taps = [layer.tap for layer in network.layers if layer.tap is not None]
        things: list[Tensor | nn.Module] = [*network.parameters, *taps]
        for held in things:
            if held in owners:
                raise ValueError(
                    f"{network.name}: {_path(policy, held)} belongs to {owners[held]}, too, which is not understood; "
                    "give each a module of its own"
                )
            owners[held] = network.name
    constants = [tensor for network in networks for tensor, _ in network.constants]
    known = {*owners, *constants, *policy_targets(policy).values()}
    for path, parameter in policy.named_parameters():
        if parameter not in known:
            raise ValueError(
                f"the policy {type(policy).__name__} is not understood: nothing is known of its {path}, which may read "
                "hidden units; leave it out of the policy"
            )


def _path(policy: BasePolicy, held: Tensor | nn.Module) -> str:
    """Where the policy has a parameter or a module."""
    places: list[tuple[str, Tensor | nn.Module]] = [*policy.named_modules(), *policy.named_parameters()]
    return next(path for path, found in places if found is held)


def policy_targets(policy: BasePolicy) -> dict[Tensor, Tensor]:
    """Parameter -> the parameter at the same place in the target network; empty for a policy without one.

    With a shared features extractor SAC's target critic follows it with a copy of its own, TD3's targets with one.
    """
    pairs: list[tuple[nn.Module, nn.Module]] = []
    if isinstance(policy, DQNPolicy):
        pairs = [(policy.q_net, policy.q_net_target)]
    elif isinstance(policy, SACPolicy):
        pairs = [(policy.critic, policy.critic_target)]
    elif isinstance(policy, TD3Policy):
        pairs = [(policy.critic, policy.critic_target), (policy.actor, policy.actor_target)]
    return {
        parameter: target.get_parameter(path)
        for online, target in pairs
        for path, parameter in online.named_parameters()
    }
