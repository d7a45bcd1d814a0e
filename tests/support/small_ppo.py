"""Small policies of every kind that PPO has, and what tests do with them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

import envs
from agents import PPO, plasticity
from agents.networks import ImpalaCNN, MinAtarCNN
from agents.plasticity.layers import CReLU
from agents.vec_env import VectorEnvAdapter


class Images(gymnasium.Env):
    """Random 36x36 images, the smallest that SB3's NatureCNN takes; continuous actions; episodes of 20 steps."""

    observation_space = spaces.Box(0, 255, (36, 36, 1), np.uint8)
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def _observation(self) -> Any:
        return self.np_random.integers(0, 256, (36, 36, 1), dtype=np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self._observation(), float(action[0]), False, self.steps == 20, {}


class Pairs(Images):
    """The same images beside a vector, as a dict observation."""

    observation_space = spaces.Dict(
        {"a vector": spaces.Box(-1, 1, (3,), np.float32), "image": Images.observation_space}  # the image comes second
    )

    def _observation(self) -> Any:
        return {"image": super()._observation(), "a vector": self.np_random.uniform(-1, 1, 3).astype(np.float32)}


SHARED, SEPARATE = {"share_features_extractor": True}, {"share_features_extractor": False}
FEW_FEATURES = {"features_extractor_kwargs": {"features_dim": 32}}
IMAGE_IN_DICT = {"policy": "MultiInputPolicy", "features_extractor_kwargs": {"cnn_output_dim": 32}, "net_arch": [16]}
KINDS: dict[str, dict[str, Any]] = {
    "mlp": {"policy": "MlpPolicy", "env": "CartPole-v1", "net_arch": [16, 12], "activation_fn": nn.ReLU},
    "mlp-tanh-gsde": {"policy": "MlpPolicy", "env": "Pendulum-v1", "net_arch": [16, 12], "use_sde": True},
    "board": {"policy": "CnnPolicy", "env": "breakout", **SHARED},
    "board-separate": {
        "policy": "CnnPolicy", "env": "breakout", **SEPARATE, "features_extractor_class": MinAtarCNN,
        "net_arch": {"pi": [16], "vf": [12]}, "activation_fn": nn.ReLU, **FEW_FEATURES,
    },
    "nature": {"policy": "CnnPolicy", "env": Images, "net_arch": [], **FEW_FEATURES, **SHARED},
    "nature-separate": {
        "policy": "CnnPolicy", "env": Images, "net_arch": [16], "activation_fn": nn.ReLU, **FEW_FEATURES, **SEPARATE,
    },
    "dict": {"env": Pairs, "activation_fn": nn.ReLU, **IMAGE_IN_DICT, **SHARED},
}  # fmt: skip
IMPALA = {
    "features_extractor_class": ImpalaCNN, "features_extractor_kwargs": {"depths": (4, 6), "features_dim": 16},
    "net_arch": [8], "activation_fn": nn.ReLU,
}  # fmt: skip
# Kinds that only some tests run through.
MORE: dict[str, dict[str, Any]] = {
    "impala": {"policy": "CnnPolicy", "env": Images, **IMPALA, **SHARED},
    "impala-separate": {"policy": "CnnPolicy", "env": Images, **IMPALA, **SEPARATE},
    "crelu-board": {"policy": "CnnPolicy", "env": "breakout", "activation_fn": CReLU, **SHARED},
    "norm-mlp": {"policy": "LayerNormMlpPolicy", "env": "CartPole-v1", "net_arch": [16, 12], "activation_fn": nn.ReLU},
    "norm-tanh-gsde": {"policy": "LayerNormMlpPolicy", "env": "Pendulum-v1", "net_arch": [16, 12], "use_sde": True},
    "norm-board": {"policy": "LayerNormCnnPolicy", "env": "breakout", **SHARED},
    "norm-nature-separate": {
        "policy": "LayerNormCnnPolicy", "env": Images, "net_arch": [16], "activation_fn": nn.ReLU,
        **FEW_FEATURES, **SEPARATE,
    },
    "norm-impala": {"policy": "LayerNormCnnPolicy", "env": Images, **IMPALA, **SHARED},
    "norm-dict": {
        "env": Pairs, "activation_fn": nn.ReLU, **IMAGE_IN_DICT, "policy": "LayerNormMultiInputPolicy", **SHARED,
    },
}  # fmt: skip
ALL = {**KINDS, **MORE}

# Resets that act within a few updates of these.
RESETS = {
    "gxd": lambda: plasticity.GXD(rate=0.01, period=6, maturity=6, score_every=2),
    "gxd-each-step": lambda: plasticity.GXD(rate=0.01, period=1, maturity=6, score_every=1),
    "redo": lambda: plasticity.ReDo(tau=0.6, period=6),
    "regrama": lambda: plasticity.ReGraMa(tau=0.9, period=6, maturity=6, cap=0.5),
}


def world(kind: str, n_envs: int = 4) -> VecEnv:
    """Games of that kind, as SB3 takes them."""
    env = ALL[kind]["env"]
    return PPO._wrap_env(envs.make(env, n_envs=n_envs)) if isinstance(env, str) else make_vec_env(env, n_envs=n_envs)


def twin(venv: VecEnv) -> VecEnv:
    """Games of `world` that stand where these stand."""
    games = venv.unwrapped
    if not isinstance(games, VectorEnvAdapter):
        return copy.deepcopy(games)
    tasks = games.venv.stream.tasks  # which never change
    return PPO._wrap_env(copy.deepcopy(games.venv, {id(task): task for task in tasks}))


def build(kind: str, cls: type = PPO, seed: int = 5, n_envs: int = 4, **arguments: Any) -> Any:
    """A small PPO of that kind, ours or stock: rollouts of 64 transitions, 8 gradient steps in an update."""
    policy_kwargs = {k: v for k, v in ALL[kind].items() if k not in ("policy", "env", "use_sde")}
    settings = {
        "n_steps": 64 // n_envs, "batch_size": 16, "n_epochs": 2, "device": "cpu", "seed": seed,
        "use_sde": ALL[kind].get("use_sde", False), "policy_kwargs": policy_kwargs,
    }  # fmt: skip
    return cls(ALL[kind]["policy"], world(kind, n_envs), **{**settings, **arguments})


def parameters(model: Any) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}


def assert_same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert not different


def global_rng() -> Callable[[], None]:
    """Remembers the global generators; call the result to put them back."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()

    def restore() -> None:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])

    return restore
