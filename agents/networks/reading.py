"""Observations as networks read them soonest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def as_read(observations: Any, network: nn.Module) -> Any:
    """Booleans as bytes of 0 and 1, the same memory, where it is SB3 that makes numbers of them; all else as it is.

    Torch makes floats of bytes ten times as fast, and they are the same.

    Args:
        observations: of a minibatch, a tensor or a dict of them.
        network: that is given them.
    """
    reads = getattr(type(network), "extract_features", None)
    if reads is None or not reads.__module__.startswith("stable_baselines3."):
        return observations
    if isinstance(observations, dict):
        return {key: as_read(part, network) for key, part in observations.items()}
    return observations.view(torch.uint8) if _is_boolean(observations) else observations


def _is_boolean(observations: Any) -> bool:
    return isinstance(observations, Tensor) and observations.dtype is torch.bool
