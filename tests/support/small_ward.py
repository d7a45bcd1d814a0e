"""A small PPO for the gallery of illnesses: it is paid for one of three actions, by ten observed numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from torch import nn

from agents import PPO
from agents.plasticity import Intervention


class Numbers(gymnasium.Env):
    """Ten normal numbers at each of 32 steps; the action that is the largest of the first three is paid."""

    observation_space = spaces.Box(-np.inf, np.inf, (10,), np.float32)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        reward = float(action == self.numbers[:3].argmax())
        return self._seen(), reward, False, self.steps == 32, {}

    def _seen(self) -> Any:
        self.numbers = self.np_random.normal(size=10).astype(np.float32)
        return self.numbers


def patient(
    seed: int = 5,
    activation: type[nn.Module] = nn.ReLU,
    norm: str = "none",
    interventions: Sequence[Intervention] = (),
    learning_rate: float = 1e-3,
) -> PPO:
    """An agent that has not been trained: two hidden layers of 32 in actor and critic."""
    policy = {"net_arch": [32, 32], "activation_fn": activation, "norm": norm}
    games = make_vec_env(Numbers, 4, seed=seed)
    settings = {"n_steps": 128, "batch_size": 128, "n_epochs": 4, "learning_rate": learning_rate, "device": "cpu"}
    return PPO("MlpPolicy", games, policy_kwargs=policy, seed=seed, interventions=interventions, **settings)
