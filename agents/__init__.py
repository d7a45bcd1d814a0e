"""Learners on Stable-Baselines3, and what keeps them plastic. Algorithms are imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from agents.specs import AGENTS

if TYPE_CHECKING:
    from agents.dqn import DQN
    from agents.ppo import PPO
    from agents.sac import SAC
    from agents.td3 import TD3
    from agents.vec_env import StreamMonitor, VectorEnvAdapter

__all__ = ["AGENTS", "DQN", "PPO", "SAC", "TD3", "StreamMonitor", "VectorEnvAdapter"]


def __getattr__(name: str) -> Any:
    if name.lower() in AGENTS and name in __all__:
        return AGENTS[name.lower()].resolve()
    if name in __all__:
        return getattr(import_module("agents.vec_env"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
