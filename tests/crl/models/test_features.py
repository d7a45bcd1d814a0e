"""Features and hidden layers by observation space and agent."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from crl.models.features import features_of


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (gymnasium.spaces.Box(0, 1, (10, 10, 10), bool), "minatar_cnn"),
        (gymnasium.spaces.Box(0, 1, (2, 10, 10), bool), "minatar_cnn"),
        (gymnasium.spaces.Box(0, 255, (84, 84, 4), np.uint8), "nature_cnn"),
        (gymnasium.spaces.Box(0, 255, (3, 64, 64), np.uint8), "nature_cnn"),
        (gymnasium.spaces.Box(0, 255, (20, 20, 3), np.uint8), "minatar_cnn"),
        (gymnasium.spaces.Box(0, 255, (2, 20, 1), np.uint8), "flatten"),
        (gymnasium.spaces.Box(0, 1, (10, 2, 10), bool), "flatten"),
        (gymnasium.spaces.Box(0, 1, (84, 84, 3), np.float32), "flatten"),
        (gymnasium.spaces.Box(-1, 1, (4,), np.float32), "flatten"),
        (gymnasium.spaces.Discrete(16), "flatten"),
    ],
)
def test_features_by_observation_space(space: gymnasium.Space[Any], expected: str) -> None:
    assert features_of(space) == expected
