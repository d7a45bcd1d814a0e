"""Observations as networks read them soonest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from agents.networks.extractors import MinAtarCNN
from agents.speed.boards import Boards, kernels

READERS = (FlattenExtractor, MinAtarCNN)
"""Extractors behind which a layer may look at set cells alone."""


def as_read(observations: Any, network: nn.Module) -> Any:
    """Booleans as what numbers are soonest made of, where it is SB3 that makes them; all else as it is.

    `Boards` where the first layer may know of them, which computes the same bits (`agents.speed.order`); else bytes of
    0 and 1, the same memory, of which torch makes floats ten times as fast.

    Args:
        observations: of a minibatch, a tensor or a dict of them.
        network: that is given them.
    """
    if isinstance(observations, Tensor) and not _is_boolean(observations):
        return observations  # whatever the network is made of, which takes longer to see
    return reader(network)(observations)


def reader(network: nn.Module) -> Callable[[Any], Any]:
    """How `as_read` reads for a network as long as it is made of the same modules, none of which is compiled then."""
    reads = getattr(type(network), "extract_features", None)
    if reads is None or not reads.__module__.startswith("stable_baselines3."):
        return lambda observations: observations
    return partial(_read, boards=_may_know_boards(network))


def _read(observations: Any, *, boards: bool) -> Any:
    if isinstance(observations, dict):
        return {key: _as_bytes(part) for key, part in observations.items()}
    if boards and _is_boolean(observations) and observations.is_cpu:
        return Boards.of(observations)
    return _as_bytes(observations)


def convolves_densely(network: nn.Module, space: spaces.Space[Any]) -> bool:
    """Whether a network has convolutions that do not look at set cells alone."""
    modules = list(network.modules())
    convolutions = {module for module in modules if isinstance(module, _ConvNd)}
    if space.dtype == np.bool_ and kernels() is not None:
        convolutions -= {module.cnn[0] for module in modules if type(module) is MinAtarCNN}
    return bool(convolutions)


def _as_bytes(observations: Any) -> Any:
    return observations.view(torch.uint8) if _is_boolean(observations) else observations


def _is_boolean(observations: Any) -> bool:
    return isinstance(observations, Tensor) and observations.dtype is torch.bool


def _may_know_boards(network: nn.Module) -> bool:
    """Whether nothing of a network is compiled, which would be for plain tensors, and its extractor is a known one."""
    return type(getattr(network, "features_extractor", None)) in READERS and not any(
        module._compiled_call_impl is not None or type(module).__module__.startswith("torch._dynamo")
        for module in network.modules()
    )
