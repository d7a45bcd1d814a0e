"""Learners on Stable-Baselines3, and what keeps them plastic. Algorithms are imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents.plasticity.registry import Entry

if TYPE_CHECKING:
    from agents.ppo import PPO

__all__ = ["AGENTS", "PPO"]

AGENTS: dict[str, Entry] = {
    "ppo": Entry("agents.ppo:PPO", "proximal policy optimisation, Stable-Baselines3's with hook points"),
}


def __getattr__(name: str) -> Any:
    if name.lower() in AGENTS and name in __all__:
        return AGENTS[name.lower()].resolve()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
