"""Small DQN, SAC and TD3 agents, ours and stock, of every kind of policy that SB3 has for them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from small_ppo import FEW_FEATURES, IMAGE_IN_DICT, SEPARATE, SHARED, Images, Pairs, assert_same
from stable_baselines3 import DQN, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer
from torch import Tensor, nn

import agents
import envs
from agents import plasticity
from agents.networks.policies import PlasticDQNPolicy, PlasticSACPolicy
from agents.plasticity.layers import CReLU, Fourier


class Frames(Images):
    """Random 44x44 images: the last map of NatureCNN has 2x2 positions."""

    observation_space = spaces.Box(0, 255, (44, 44, 1), np.uint8)

    def _observation(self) -> Any:
        return self.np_random.integers(0, 256, (44, 44, 1), dtype=np.uint8)


class Boards(Images):
    """Random boards of MinAtar's shape, with continuous actions between other bounds than -1 and 1."""

    observation_space = spaces.Box(0, 1, (10, 10, 4), bool)
    action_space = spaces.Box(np.array([-3.0, 0.0], np.float32), np.array([1.0, 5.0], np.float32))

    def _observation(self) -> Any:
        return self.np_random.random((10, 10, 4)) < 0.3


class Reach(gymnasium.Env):
    """A point on a line must come near a goal; for hindsight replay. Episodes of 10 steps."""

    observation_space = spaces.Dict({
        key: spaces.Box(-2, 2, (1,), np.float32) for key in ("observation", "achieved_goal", "desired_goal")
    })  # fmt: skip
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        return -(np.abs(achieved - desired)[..., 0] > 0.3).astype(np.float32)

    def _observation(self) -> Any:
        return {"observation": self.place.copy(), "achieved_goal": self.place.copy(), "desired_goal": self.goal.copy()}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps, self.place = 0, np.zeros(1, np.float32)
        self.goal = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        self.place = np.clip(self.place + 0.3 * action[:1], -2, 2).astype(np.float32)
        reward = float(self.compute_reward(self.place, self.goal, {}))
        return self._observation(), reward, False, self.steps == 10, {}


def discrete(env: type[gymnasium.Env]) -> gymnasium.Env:
    """The same game with two actions."""
    game = env()
    game.action_space = spaces.Discrete(2)
    return gymnasium.wrappers.TransformAction(game, lambda action: np.array([action, 0.0]), game.action_space)


IMAGE = {"policy": "CnnPolicy", "env": Frames, "activation_fn": nn.ReLU, **FEW_FEATURES}
FOLDED = {"net_arch": [16, 12], "norm": "layer"}
DICT = {"env": Pairs, **IMAGE_IN_DICT}
KINDS: dict[str, dict[str, Any]] = {
    "dqn-mlp": {"cls": DQN, "policy": "MlpPolicy", "env": "CartPole-v1", "net_arch": [16, 12]},
    "dqn-cnn": {"cls": DQN, **IMAGE},  # SB3's default: no hidden layer behind NatureCNN
    "dqn-dict": {"cls": DQN, **DICT},
    "dqn-norm-crelu": {
        "cls": DQN, "policy": PlasticDQNPolicy, "env": "CartPole-v1", "activation_fn": CReLU, **FOLDED,
    },
    "sac-mlp": {"cls": SAC, "policy": "MlpPolicy", "env": "Pendulum-v1", "net_arch": [16, 12]},
    "sac-gsde": {"cls": SAC, "policy": "MlpPolicy", "env": "Pendulum-v1", "net_arch": [16, 12], "use_sde": True},
    "sac-cnn": {"cls": SAC, **IMAGE, "net_arch": {"pi": [16], "qf": [12]}, **SEPARATE},
    "sac-cnn-shared": {"cls": SAC, **IMAGE, "net_arch": {"pi": [16], "qf": [12]}, **SHARED},
    "sac-cnn-shared-linear": {"cls": SAC, **IMAGE, "net_arch": [], "use_sde": True, "clip_mean": 0.0, **SHARED},
    "sac-dict": {"cls": SAC, **DICT, **SEPARATE},
    "sac-dict-shared": {"cls": SAC, **DICT, **SHARED},
    "sac-norm-fourier": {
        "cls": SAC, "policy": PlasticSACPolicy, "env": "Pendulum-v1", "activation_fn": Fourier, **FOLDED,
    },
    "td3-mlp": {"cls": TD3, "policy": "MlpPolicy", "env": "Pendulum-v1", "net_arch": [16, 12]},
    "td3-cnn-shared": {"cls": TD3, **IMAGE, "net_arch": {"pi": [16], "qf": [12]}, **SHARED},
}  # fmt: skip
# Kinds that only some tests run through.
MORE: dict[str, dict[str, Any]] = {
    "dqn-board": {"cls": DQN, "policy": "CnnPolicy", "env": "breakout"},
    "sac-board": {"cls": SAC, "policy": "CnnPolicy", "env": Boards},
    "dqn-her": {"cls": DQN, "policy": "MultiInputPolicy", "env": Reach, "net_arch": [16]},
    "sac-her": {"cls": SAC, "policy": "MultiInputPolicy", "env": Reach, "net_arch": [16]},
}
ALL = {**KINDS, **MORE}
OURS = {DQN: agents.DQN, SAC: agents.SAC, TD3: agents.TD3}

# Resets that act within a few updates of these.
RESETS = {
    "gxd": lambda: plasticity.GXD(rate=0.05, period=4, maturity=4, score_every=2),
    "gxd-outputs": lambda: plasticity.GXD(rate=0.05, signal="outputs", period=4, maturity=4),
    "redo": lambda: plasticity.ReDo(tau=0.9, period=4, samples=32),
    "regrama": lambda: plasticity.ReGraMa(tau=0.9, period=4, maturity=4, score_every=1, cap=0.5),
    "cbp-each-step": lambda: plasticity.CBP(rate=0.05, period=1, maturity=3, score_every=1),
    "shrink-each-step": lambda: plasticity.ShrinkAndPerturb(shrink=0.99, perturb=0.01, period=1),
    "head": lambda: plasticity.HeadReset(period=5),
    "full": lambda: plasticity.FullReset(period=7),
    "sigreg": lambda: plasticity.SIGReg(every=2),
    "sample-weights": lambda: plasticity.SampleWeightDecay(decay_steps=40),
}


def world(kind: str, n_envs: int = 1) -> VecEnv:
    """Games of that kind, as SB3 takes them."""
    env = ALL[kind]["env"]
    if env == "breakout":
        return agents.DQN._wrap_env(envs.make(env, n_envs=n_envs))
    if ALL[kind]["cls"] is DQN and not isinstance(env, str):
        env = partial(discrete, env)
    return make_vec_env(env, n_envs)


def build(kind: str, cls: type | None = None, seed: int = 5, n_envs: int = 1, **arguments: Any) -> Any:
    """A small agent of that kind, stock or of the class given: no update before 16 steps, then one every 4."""
    spec = ALL[kind]
    given = ("cls", "policy", "env", "use_sde")
    settings = {
        "learning_starts": 16, "train_freq": 4, "batch_size": 8, "buffer_size": 64, "device": "cpu", "seed": seed,
        "policy_kwargs": {key: value for key, value in spec.items() if key not in given},
    }  # fmt: skip
    if spec["cls"] is SAC:
        settings["use_sde"] = spec.get("use_sde", False)
    elif spec["cls"] is DQN:
        settings |= {"target_update_interval": 20, "exploration_fraction": 0.5}
    if spec["env"] is Reach:
        settings |= {"replay_buffer_class": HerReplayBuffer, "replay_buffer_kwargs": {"n_sampled_goal": 3}}
    return (cls or spec["cls"])(spec["policy"], world(kind, n_envs), **{**settings, **arguments})


def ours(kind: str, **arguments: Any) -> Any:
    """The same, of our class."""
    return build(kind, OURS[ALL[kind]["cls"]], **arguments)


def like(model: Any) -> dict[str, Any]:
    """Arguments that make stock SB3 build the same network."""
    return {"policy_kwargs": model.policy_kwargs}


class Rows(KVWriter):
    """Keeps what is logged.

    Attributes:
        rows: (step, values) of every row, without what a clock has measured.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, Any]]] = []

    def write(self, key_values: dict[str, Any], key_excluded: Any, step: int = 0) -> None:
        clock = ("time/fps", "time/time_elapsed")
        self.rows.append((step, {key: value for key, value in key_values.items() if key not in clock}))

    def close(self) -> None:
        pass

    def first(self) -> dict[int, dict[str, Any]]:
        """Step -> the first row written at it."""
        return dict(reversed(self.rows))


def logged(model: Any) -> Rows:
    """From now on the model logs into what is returned."""
    rows = Rows()
    model.set_logger(Logger(None, [rows]))
    return rows


def state(model: Any) -> dict[str, Tensor]:
    """All that training has made: parameters, targets, optimizers, entropy coefficient, exploration rate, counts."""
    found = {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}
    for owner in ("policy", "actor", "critic"):
        optimizer = getattr(getattr(model, owner, None), "optimizer", None)
        found |= _optimizer_state(owner, optimizer)
    found |= _optimizer_state("log_ent_coef", getattr(model, "ent_coef_optimizer", None))
    if getattr(model, "log_ent_coef", None) is not None:
        found["log_ent_coef"] = model.log_ent_coef.detach().clone()
    for name in ("exploration_rate", "num_timesteps", "_n_updates", "_episode_num"):
        if hasattr(model, name):
            found[name] = torch.tensor(getattr(model, name), dtype=torch.float64)
    return found


def _optimizer_state(owner: str, optimizer: torch.optim.Optimizer | None) -> dict[str, Tensor]:
    if optimizer is None:
        return {}
    found = {f"{owner}/rate": torch.tensor(optimizer.param_groups[0]["lr"], dtype=torch.float64)}
    for number, held in optimizer.state_dict()["state"].items():
        found |= {f"{owner}/{number}/{key}": torch.as_tensor(value).clone() for key, value in held.items()}
    return found


def assert_same_rows(left: Rows, right: Rows) -> None:
    """Rows at the same steps with the same values; of several at one step (of stock SB3) the first counts."""
    assert left.rows
    assert left.first() == right.first()


def train_alike(kind: str, steps: int = 64, n_envs: int = 1, **arguments: Any) -> tuple[Any, Any]:
    """Ours and stock after the same training; it has given both the same state and log."""
    mine = ours(kind, n_envs=n_envs, **copy.deepcopy(arguments))
    before = state(mine)
    mine, ours_rows = _trained(mine, steps)
    # Not before ours has been trained: they draw from the same global generators.
    stock = build(kind, n_envs=n_envs, **{**copy.deepcopy(arguments), **like(mine)})
    stock, stock_rows = _trained(stock, steps)
    assert_same(state(mine), state(stock))
    assert_same_rows(ours_rows, stock_rows)
    assert mine._n_updates == mine.optimizer_steps > 0
    assert_changed(before, state(mine))
    return mine, stock


def _trained(model: Any, steps: int) -> tuple[Any, Rows]:
    rows = logged(model)
    model.learn(steps, log_interval=1)
    model.dump_logs()
    return model, rows


def assert_changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
    """Training has moved every network, targets too."""
    for network in {name.split(".")[0] for name in before if "." in name}:
        names = [name for name in before if name.startswith(f"{network}.")]
        assert any(not torch.equal(before[name], after[name]) for name in names), network
