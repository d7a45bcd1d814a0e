"""Features and hidden layers: what the observations ask for where a config leaves it out, and whether they fit."""

from __future__ import annotations

from functools import partial
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor, NatureCNN
from torch import nn

from agents.learner import NATURE_CNN_MINIMUM
from agents.networks import BOARD_MINIMUM, ImpalaCNN, MinAtarCNN, board_channels_first
from crl.config import AgentConfig, ConfigError
from crl.config.agents import Activation, Features

EXTRACTORS: dict[Features, type[BaseFeaturesExtractor]] = {
    "flatten": FlattenExtractor,
    "nature_cnn": NatureCNN,
    "minatar_cnn": MinAtarCNN,
    "impala": ImpalaCNN,
}
ACTIVATIONS: dict[Activation, Any] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "leaky_relu": partial(nn.LeakyReLU, 0.1),  # the slope of C-CHAIN's control networks, arXiv 2506.00592
}


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
    return agent.model_copy(
        update={
            "features": features,
            "net_arch": agent.alike(head.widths) if agent.net_arch is None else agent.net_arch,
            "activation": agent.activation or head.activation,
        }
    )


def policy_arguments(agent: AgentConfig) -> dict[str, Any]:
    """The keyword arguments of SB3's policy, for a resolved agent."""
    assert agent.features is not None
    assert agent.activation is not None
    return {
        "features_extractor_class": EXTRACTORS[agent.features],
        "net_arch": agent.model_dump(mode="json")["net_arch"],
        "activation_fn": ACTIVATIONS[agent.activation],
    }


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
