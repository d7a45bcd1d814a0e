"""The unit graphs of Stable-Baselines3's policies: which layers can be reset, and who reads their units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from agents.plasticity.injectable import Injectable
from agents.plasticity.units import Network
from agents.plasticity.units.builders import refuse_changed
from agents.sb3_units.ends import Axes, Axis, Ends, actor_critic_ends, axes_of, dqn_ends, sac_ends, td3_ends
from agents.sb3_units.off_policy import dqn_networks, sac_networks, td3_networks
from agents.sb3_units.on_policy import actor_critic_networks

__all__ = ["Axes", "Axis", "policy_axes", "policy_networks", "policy_targets"]


class _Kind(NamedTuple):
    """What is known of a policy of SB3's.

    Attributes:
        networks: makes its graphs.
        ends: finds where it meets its world.
        followed: its modules that a target network follows.
    """

    networks: Callable[[Any], list[Network]]
    ends: Callable[[Any], Ends]
    followed: tuple[str, ...] = ()


POLICIES: dict[type[BasePolicy], _Kind] = {
    ActorCriticPolicy: _Kind(actor_critic_networks, actor_critic_ends),
    DQNPolicy: _Kind(dqn_networks, dqn_ends, ("q_net",)),
    SACPolicy: _Kind(sac_networks, sac_ends, ("critic",)),
    TD3Policy: _Kind(td3_networks, td3_ends, ("critic", "actor")),
}


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
    kind = _kind(policy)
    if kind is None:
        raise ValueError(
            f"the policy {type(policy).__name__} is not understood; resets know SB3's ActorCriticPolicy (PPO), "
            f"DQNPolicy, SACPolicy and TD3Policy"
        )
    networks = POLICIES[kind].networks(policy)
    _check_complete(policy, networks)
    heads, followed = _injectable(policy), policy_targets(policy)
    return {network.name: _with_heads(network, heads, followed) for network in networks if network.parts}


def _with_heads(network: Network, heads: Sequence[Injectable], followed: Mapping[Tensor, Tensor]) -> Network:
    """The network, with those of a policy's heads that plasticity can be injected into; beside them the targets'."""
    own = set(network.parameters)
    found = tuple(
        (head, *(target for target in heads if followed.get(head.live[0]) is target.live[0]))
        for head in heads
        if own.issuperset(head.live)
    )
    return replace(network, layers=tuple(layer.before(heads) for layer in network.layers), heads=found)


def _injectable(policy: BasePolicy) -> list[Injectable]:
    return [module for module in policy.modules() if isinstance(module, Injectable)]


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
    frozen = [parameter for head in _injectable(policy) for parameter in head.frozen]
    known = {*owners, *constants, *frozen, *policy_targets(policy).values()}
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
    kind = _kind(policy)
    return {
        parameter: policy.get_submodule(f"{name}_target").get_parameter(path)
        for name in (() if kind is None else POLICIES[kind].followed)
        for path, parameter in policy.get_submodule(name).named_parameters()
    }


def policy_axes(policy: BasePolicy) -> dict[Tensor, Axes]:
    """Parameter -> what its axes are counted by in the world, those of target networks too.

    Parameters that no world has anything to do with are left out.

    Raises:
        ValueError: the policy is not understood, see `policy_networks`.
    """
    policy_networks(policy)
    kind = _kind(policy)
    assert kind is not None
    space = policy.observation_space
    vector = isinstance(space, spaces.Box) and len(space.shape) == 1
    found = axes_of(POLICIES[kind].ends(policy), _injectable(policy), vector=vector)
    return found | {target: found[online] for online, target in policy_targets(policy).items() if online in found}


def _kind(policy: BasePolicy) -> type[BasePolicy] | None:
    """Which of SB3's policies it is."""
    return next((kind for kind in POLICIES if isinstance(policy, kind)), None)
