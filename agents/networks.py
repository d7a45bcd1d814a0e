"""Features extractors for observations that Stable-Baselines3 has no network for."""

from __future__ import annotations

import math
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn


class MinAtarCNN(BaseFeaturesExtractor):
    """A 3x3 convolution of 16 filters and a linear layer of 128, both ReLU (Young & Tian, arXiv 1903.03176).

    Observations are boards in (height, width, channel) order, as MinAtar returns them; the convolution's
    (channel, height, width) order is made here, because SB3 transposes uint8 images only.

    Args:
        observation_space: a Box of shape (height, width, channel), height and width of at least 3.
        features_dim: width of the linear layer.

    Raises:
        ValueError: the observation is no board of at least 3x3.
    """

    def __init__(self, observation_space: spaces.Space[Any], features_dim: int = 128) -> None:
        shape = observation_space.shape
        if shape is None or len(shape) != 3 or min(shape[:2]) < 3:
            raise ValueError(
                f"MinAtarCNN needs observations of shape (height, width, channel) with height and width of at least 3, "
                f"not {observation_space}; use features 'flatten' for vectors"
            )
        super().__init__(observation_space, features_dim)
        height, width, channels = shape
        self.cnn = nn.Sequential(nn.Conv2d(channels, 16, kernel_size=3), nn.ReLU(), nn.Flatten())
        self.linear = nn.Sequential(nn.Linear(16 * math.prod((height - 2, width - 2)), features_dim), nn.ReLU())

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """(batch, height, width, channel) float boards -> (batch, features_dim) features."""
        features: torch.Tensor = self.linear(self.cnn(observations.permute(0, 3, 1, 2)))
        return features
