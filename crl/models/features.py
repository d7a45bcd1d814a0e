"""Features and hidden layers: what the observations ask for where a config leaves it out, and whether they fit."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space

from agents.networks import NetworkSpec
from agents.networks.extractors import BOARD_MINIMUM, NATURE_CNN_MINIMUM, board_channels_first
from agents.networks.spec import Features, simba_widths
from crl.config import AgentConfig, ConfigError


def resolved(agent: AgentConfig, space: spaces.Space[Any]) -> AgentConfig:
    """The agent with features, layers and activation as the observations ask for.

    Raises:
        ConfigError: the features that it gives do not fit them.
    """
    features = agent.features or features_of(space)
    fits = {
        "flatten": True,
        "nature_cnn": _fits_nature_cnn(space),
        "minatar_cnn": _fits_minatar_cnn(space),
        "impala": _fits_impala(space),
    }
    if not fits[features]:
        others = " or ".join(name for name, right in fits.items() if right)
        raise ConfigError(
            f"agent.features={features} does not fit observations {space}; give {others}, or leave it out"
        )
    head = agent.spec.heads[features]
    names, activation = agent.spec.networks, head.activation
    widths = dict.fromkeys(names, head.widths)
    if agent.network == "simba":
        widths, activation = simba_widths(names), "relu"
    return agent.model_copy(
        update={
            "features": features,
            "net_arch": agent.arranged(widths) if agent.net_arch is None else agent.net_arch,
            "activation": agent.activation or activation,
        }
    )


def network_of(agent: AgentConfig) -> NetworkSpec:
    """The networks of a resolved agent."""
    assert agent.features is not None
    assert agent.activation is not None
    return NetworkSpec(
        agent.features, agent.model_dump(mode="json")["net_arch"], agent.activation, agent.norm, agent.dropout,
        agent.network, agent.injectable,
    )  # fmt: skip


def features_of(space: spaces.Space[Any]) -> Features:
    """The features that observations ask for."""
    if _fits_nature_cnn(space):
        return "nature_cnn"
    board = space.dtype == bool or is_image_space(space)
    return "minatar_cnn" if board and _fits_minatar_cnn(space) else "flatten"


def _fits_nature_cnn(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Box) and is_image_space(space) and sorted(space.shape)[-2] >= NATURE_CNN_MINIMUM


def _fits_minatar_cnn(space: spaces.Space[Any]) -> bool:
    if not isinstance(space, spaces.Box) or len(space.shape) != 3:
        return False
    channels_first = board_channels_first(space)  # None: the network says that it is open
    readings = [space.shape[1:]] if channels_first else [space.shape[:2]]
    if channels_first is None:
        readings = [space.shape[1:], space.shape[:2]]
    return any(min(sides) >= BOARD_MINIMUM for sides in readings)


def _fits_impala(space: spaces.Space[Any]) -> bool:
    # SB3 takes the smallest of the three for the channels, which come first or last.
    shape = space.shape or ()
    return is_image_space(space) and min(shape) in (shape[0], shape[-1])
