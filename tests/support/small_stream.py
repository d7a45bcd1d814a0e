"""Small learners on a stream of two tasks that reveals its switches."""

from __future__ import annotations

import copy
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize

import envs
from agents import AGENTS, PPO

CARTPOLES = [{"id": "CartPole-v1"}, {"id": "CartPole-v1", "sutton_barto_reward": True}]
PENDULUMS = [{"id": "Pendulum-v1"}, {"id": "Pendulum-v1", "g": 3.0}]
OFF_POLICY = {
    "learning_starts": 16, "train_freq": 4, "batch_size": 8, "buffer_size": 400, "device": "cpu", "seed": 5,
    "policy_kwargs": {"net_arch": [8]},
}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "dqn": {**OFF_POLICY, "target_update_interval": 20, "exploration_fraction": 0.5},
    "sac": {**OFF_POLICY, "ent_coef": "auto_0.1"},
    "td3": {**OFF_POLICY, "action_noise": 0.1},
    "ppo": {
        "n_steps": 8,
        "batch_size": 8,
        "n_epochs": 1,
        "device": "cpu",
        "seed": 5,
        "policy_kwargs": {"net_arch": [8]},
    },
}


def stream(agent: str, boundary: str = "revealed") -> Any:
    """Two games at once, a switch after each 60 steps: at 60, 120 and 180."""
    tasks = PENDULUMS if agent in ("sac", "td3") else CARTPOLES
    return envs.make(tasks, n_envs=2, steps_per_task=60, cycles=2, boundary=boundary)


def settings(agent: str) -> dict[str, Any]:
    """SB3 writes into what it is given."""
    return copy.deepcopy(SETTINGS[agent])


def learner(agent: str, normalized: bool = False, **arguments: Any) -> Any:
    """A learner on the stream; DQN and SAC update at every 8th step from 24 on, PPO at every 16th."""
    cls = AGENTS[agent].resolve()
    venv = PPO._wrap_env(stream(agent))
    venv = VecNormalize(venv) if normalized else venv
    return cls("MlpPolicy", venv, **{**settings(agent), **arguments})


class Record(BaseCallback):
    """After each update: steps -> what `look` gives; and the steps at which an action was drawn at random."""

    def __init__(self, look: Any = lambda model: None) -> None:
        super().__init__()
        self.look, self.seen, self.random = look, {}, []

    def _init_callback(self) -> None:
        space = self.model.action_space
        draw = space.sample

        def sample() -> Any:
            self.random.append(self.model.num_timesteps)
            return draw()

        space.sample = sample

    def _note(self) -> None:
        self.seen[self.model.num_timesteps] = self.look(self.model)

    _on_rollout_start = _on_training_end = _note

    def _on_step(self) -> bool:
        return True
