"""Worlds of any spaces, whose every step is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from envs.games import SyncGames
from envs.task import Task


class Shaped(gymnasium.Env):
    """Observes its steps times ``pattern``; the reward is its action, or their sum. Lasts ``length`` steps."""

    def __init__(self, pattern: Any, actions: gymnasium.Space[Any], space: Box | None, length: int) -> None:
        self.pattern = np.asarray(pattern)
        self.observation_space = space or _space_of(self.pattern)
        self.action_space, self.length = actions, length

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self._observe(), float(np.sum(action)), self.steps >= self.length, False, {}

    def _observe(self) -> Any:
        return (self.pattern * (self.steps + 1)).astype(self.pattern.dtype)

    def get_state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def set_state(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]


class Saying(Shaped):
    """As Atari's, says what its actions mean."""

    meanings: tuple[str, ...]

    def get_action_meanings(self) -> list[str]:
        return list(self.meanings)


def _space_of(pattern: np.ndarray) -> Box:
    if pattern.dtype.kind == "f":
        return Box(-1, 1, pattern.shape, pattern.dtype.type)
    high = 1 if pattern.dtype == bool else np.iinfo(pattern.dtype).max
    return Box(0, high, pattern.shape, pattern.dtype.type)


def shaped(
    name: str,
    pattern: Any,
    moves: gymnasium.Space[Any] | int = 2,
    *,
    space: Box | None = None,
    says: Sequence[str] = (),
    length: int = 10**6,
    **arguments: Any,
) -> Task:
    """A task of `Shaped`, or of `Saying`; a number of moves stands for Discrete actions."""
    actions = Discrete(moves) if isinstance(moves, int) else moves

    def world() -> gymnasium.Env:
        env = (Saying if says else Shaped)(pattern, actions, space, length)
        env.meanings = tuple(says)  # type: ignore[union-attr]
        return env

    made: Callable[[], gymnasium.Env] = world
    return Task(name, made, **arguments)


def games_of(task: Task, count: int = 2) -> SyncGames:
    """A batch of the bare world."""
    return SyncGames([task.world] * count, task.name)
