"""A game as users have it: registered with Gymnasium, and with no way to save it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Walk(gymnasium.Env[Any, Any]):
    """A noisy walk on a line, which ends beyond 3; observed are the place and the time."""

    observation_space = spaces.Box(-10, 10, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, noise: float = 0.3) -> None:
        self._noise = noise

    def _observation(self) -> Any:
        return np.array([self._place, self._steps / 40], np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._place, self._steps = float(self.np_random.normal()), 0
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        self._steps += 1
        self._place += 0.2 * (2 * int(action) - 1) + float(self.np_random.normal(0, self._noise))
        return self._observation(), -abs(self._place), abs(self._place) > 3, self._steps == 40, {}


if "Walk-v0" not in gymnasium.registry:
    gymnasium.register("Walk-v0", Walk)
