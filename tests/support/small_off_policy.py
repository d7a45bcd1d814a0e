"""Small stock DQN and SAC agents of every kind of policy that SB3 has for them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from small_ppo import SEPARATE, SHARED, Images, Pairs
from stable_baselines3 import DQN, SAC
from torch import nn


class Frames(Images):
    """Random 44x44 images: the last map of NatureCNN has 2x2 positions."""

    observation_space = spaces.Box(0, 255, (44, 44, 1), np.uint8)

    def _observation(self) -> Any:
        return self.np_random.integers(0, 256, (44, 44, 1), dtype=np.uint8)


def discrete(env: type[gymnasium.Env]) -> gymnasium.Env:
    """The same game with two actions."""
    game = env()
    game.action_space = spaces.Discrete(2)
    return gymnasium.wrappers.TransformAction(game, lambda action: np.array([action, 0.0]), game.action_space)


IMAGE = {"policy": "CnnPolicy", "env": Frames, "activation_fn": nn.ReLU}
DICT = {"policy": "MultiInputPolicy", "env": Pairs, "net_arch": [16]}
KINDS: dict[str, dict[str, Any]] = {
    "dqn-mlp": {"cls": DQN, "policy": "MlpPolicy", "env": "CartPole-v1", "net_arch": [16, 12]},
    "dqn-cnn": {"cls": DQN, **IMAGE},  # SB3's default: no hidden layer behind NatureCNN
    "dqn-dict": {"cls": DQN, **DICT},
    "sac-mlp": {"cls": SAC, "policy": "MlpPolicy", "env": "Pendulum-v1", "net_arch": [16, 12]},
    "sac-gsde": {"cls": SAC, "policy": "MlpPolicy", "env": "Pendulum-v1", "net_arch": [16, 12], "use_sde": True},
    "sac-cnn": {"cls": SAC, **IMAGE, "net_arch": {"pi": [16], "qf": [12]}, **SEPARATE},
    "sac-cnn-shared": {"cls": SAC, **IMAGE, "net_arch": {"pi": [16], "qf": [12]}, **SHARED},
    "sac-cnn-shared-linear": {"cls": SAC, **IMAGE, "net_arch": [], "use_sde": True, "clip_mean": 0.0, **SHARED},
    "sac-dict": {"cls": SAC, **DICT, **SEPARATE},
    "sac-dict-shared": {"cls": SAC, **DICT, **SHARED},
}


def build(kind: str, seed: int = 5, **arguments: Any) -> Any:
    """A small stock DQN or SAC of that kind: no update before 16 steps, then one every 4 with batches of 8."""
    spec = KINDS[kind]
    env = spec["env"]
    if not isinstance(env, str):
        env = discrete(env) if spec["cls"] is DQN else env()
    given = ("cls", "policy", "env", "use_sde")
    settings = {
        "learning_starts": 16, "train_freq": 4, "batch_size": 8, "buffer_size": 64, "device": "cpu", "seed": seed,
        "policy_kwargs": {key: value for key, value in spec.items() if key not in given},
    }  # fmt: skip
    if spec["cls"] is SAC:
        settings["use_sde"] = spec.get("use_sde", False)
    return spec["cls"](spec["policy"], env, **{**settings, **arguments})
