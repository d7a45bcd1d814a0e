"""Features extractors for observations that Stable-Baselines3 has no network for."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

MINATAR_HEAD = (64,)  # hidden layers of actor and critic behind MinAtarCNN, where none are given


class MinAtarCNN(BaseFeaturesExtractor):
    """A 3x3 convolution of 16 filters and a linear layer of 128, both ReLU (Young & Tian, arXiv 1903.03176).

    Boards come in (height, width, channel) order, as MinAtar returns them, and are permuted here: SB3 transposes
    uint8 images only. Those arrive as (channel, height, width) and are left so.

    Args:
        observation_space: a Box of three dimensions, height and width of at least 3.
        features_dim: width of the linear layer.

    Raises:
        ValueError: the observation is no board of at least 3x3.
    """

    def __init__(self, observation_space: spaces.Space[Any], features_dim: int = 128) -> None:
        shape = observation_space.shape or ()
        transposed = is_image_space(observation_space)
        sides = shape[1:] if transposed else shape[:2]
        if len(shape) != 3 or min(sides) < 3:
            raise ValueError(
                f"MinAtarCNN needs boards of shape (height, width, channel), height and width of at least 3, "
                f"not {observation_space}; vectors need an MlpPolicy"
            )
        super().__init__(observation_space, features_dim)
        self._permute = not transposed
        channels = shape[0] if transposed else shape[2]
        self.cnn = nn.Sequential(nn.Conv2d(channels, 16, kernel_size=3), nn.ReLU(), nn.Flatten())
        self.linear = nn.Sequential(nn.Linear(16 * (sides[0] - 2) * (sides[1] - 2), features_dim), nn.ReLU())

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Float boards, (batch, height, width, channel) or transposed images -> features (batch, features_dim)."""
        boards = observations.permute(0, 3, 1, 2) if self._permute else observations
        features: torch.Tensor = self.linear(self.cnn(boards))
        return features
