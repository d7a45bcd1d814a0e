"""Small configs, and environments to play."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from crl.config import RunConfig, check_arguments, load

SMALL = {
    "ppo": ["agent.n_envs=2", "agent.n_steps=8", "agent.batch_size=16"],
    "dqn": ["agent.n_envs=2", "agent.buffer_size=64", "agent.batch_size=4", "agent.learning_starts=2"],
    "td3": ["agent.n_envs=2", "agent.buffer_size=64", "agent.batch_size=4", "agent.learning_starts=2"],
    "sac": ["agent.n_envs=2", "agent.buffer_size=64", "agent.batch_size=4", "agent.learning_starts=2"],
}
UNIT = gymnasium.spaces.Box(-1, 1, (2,), np.float32)


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., RunConfig]:
    """Makes small configs of an agent from overrides."""
    path = tmp_path / "c.yaml"

    def make(*overrides: str, agent: str = "ppo") -> RunConfig:
        path.write_text(f"stream: {{name: breakout, cycles: 1}}\nagent: {{name: {agent}}}\n")
        common = ["stream.steps_per_task=16", "device=cpu"]
        return check_arguments(load(path, [*SMALL[agent], *common, *overrides]))

    return make


class Images(gymnasium.Env[Any, Any]):
    """Black images; episodes of 4 steps."""

    observation_space = gymnasium.spaces.Box(0, 255, (12, 10, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros((12, 10, 3), np.uint8), {}

    def step(self, _action: Any) -> Any:
        self.steps += 1
        return np.zeros((12, 10, 3), np.uint8), 1.0, False, self.steps == 4, {}


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers ``Images-v0``, with images of 12x10 pixels and three channels."""
    spec = gymnasium.envs.registration.EnvSpec("Images-v0", entry_point=Images)
    monkeypatch.setitem(gymnasium.registry, "Images-v0", spec)


class Odd(gymnasium.Env[Any, Any]):
    """An environment with spaces that are asked for, which can be made a number of times."""

    def __init__(self, observations: gymnasium.Space[Any] = UNIT, actions: gymnasium.Space[Any] = UNIT) -> None:
        self.observation_space, self.action_space = observations, actions


@pytest.fixture
def register_odd(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Registers ``Odd-v0`` with the spaces that are asked for."""

    def register(**spaces: Any) -> None:
        spec = gymnasium.envs.registration.EnvSpec("Odd-v0", entry_point=lambda: Odd(**spaces))
        monkeypatch.setitem(gymnasium.registry, "Odd-v0", spec)

    return register
