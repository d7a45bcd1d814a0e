"""Small agents in small worlds whose runs are saved and gone on with, and a watch over what waits for a GPU."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from saved import leaves
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from torch.utils._python_dispatch import TorchDispatchMode

import agents
import envs
from agents.plasticity import Intervention
from agents.training_state import restore_training_state, training_state
from crl import storage

ON = {"n_steps": 16, "batch_size": 8, "n_epochs": 2}
OFF = {"learning_starts": 16, "train_freq": 4, "gradient_steps": 2, "batch_size": 8, "buffer_size": 100}
AGENTS: dict[str, dict[str, Any]] = {
    "ppo": {"cls": "PPO", "game": "cartpole", **ON},
    "ppo means": {"cls": "PPO", "game": "pendulum", **ON, "use_sde": True},
    "dqn": {"cls": "DQN", "game": "cartpole", **OFF, "target_update_interval": 20},
    "sac": {"cls": "SAC", "game": "pendulum", **OFF},
    "td3": {"cls": "TD3", "game": "pendulum", **OFF, "action_noise": 0.1},
}
STEPPING = {"ppo": {"policy"}, "ppo means": {"policy"}, "dqn": {"critic"}, "sac": {"critic", "actor"}}
STEPPING["td3"] = STEPPING["sac"]
"""Agent -> `Update.network` of the steps that it makes."""


def build(agent: str, interventions: Sequence[Intervention], seed: int = 5, **more: Any) -> Any:
    given = {**AGENTS[agent], **more}
    cls, game = getattr(agents, given.pop("cls")), given.pop("game")
    model = cls(
        "MlpPolicy", envs.make(game, n_envs=2), device="cpu", seed=seed, interventions=interventions,
        **{"policy_kwargs": {"net_arch": [8]}, **given},
    )  # fmt: skip
    model.set_logger(Logger(None, []))
    return model


class Begin(BaseCallback):
    """Calls something where training begins."""

    def __init__(self, act: Callable[[Any], None]) -> None:
        super().__init__()
        self._act = act

    def _on_training_start(self) -> None:
        self._act(self.model)

    def _on_step(self) -> bool:
        return True


def whole_and_resumed(
    agent: str, make: Callable[[], list[Intervention]], folder: Path, steps: int = 128, **more: Any
) -> Any:
    """What was saved half way, and all that two runs end with: one that nothing disturbed, one that went on there."""
    half = steps // 2

    def saves(model: Any) -> None:
        def ended() -> None:
            if model.num_timesteps == half:
                storage.write(folder / "half", training_state(model))

        model.update_ended.append(ended)

    whole = build(agent, make(), **more).learn(steps, callback=Begin(saves))
    saved = storage.read(folder / "half")
    random.seed(1)  # other generators than those that the first began with
    np.random.seed(2)
    torch.manual_seed(3)
    again = build(agent, make(), seed=11, **more)
    again.learn(steps, callback=Begin(lambda model: restore_training_state(model, saved)))
    assert again.num_timesteps == steps
    held = saved["learner"]["interventions"]["interventions"]
    return held, dict(leaves(training_state(whole))), dict(leaves(training_state(again)))


class Blind(TorchDispatchMode):
    """Refuses what would wait for a GPU: reading a value, and shapes that depend on one."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert function.overloadpacket.__name__ not in ("_local_scalar_dense", "nonzero", "equal", "is_nonzero")
        return function(*args, **(kwargs or {}))
