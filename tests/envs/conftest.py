"""A world whose every step is known in advance."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import pytest

from envs.task import Task


class CountingEnv(gymnasium.Env):
    """Observes [offset, seed, steps of this episode]; ends after the number of steps that it draws from ``lengths``."""

    observation_space = gymnasium.spaces.Box(-1, 2**32, (3,), np.float64)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, offset: int, lengths: tuple[int, ...]) -> None:
        self.offset = offset
        self.lengths = lengths
        self.seed = -1
        self.closed = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.seed = self.seed if seed is None else seed
        self.count = 0
        self.length = int(self.np_random.choice(self.lengths))
        return self._observe(), {"begun": True}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        info = {
            "count": self.count,
            "action": int(action),
            "even": self.count % 2 == 0,
            "nested": {"offset": self.offset},
        }
        return self._observe(), float(self.offset), self.count >= self.length, False, info

    def _observe(self) -> Any:
        return np.array([self.offset, self.seed, self.count], np.float64)

    def close(self) -> None:
        self.closed = True


class SavedCountingEnv(CountingEnv):
    """The same with its state."""

    def get_state(self) -> dict[str, Any]:
        names = ("seed", "count", "length")
        return {name: getattr(self, name) for name in names} | {"random": self.np_random.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        for name in ("seed", "count", "length"):
            setattr(self, name, state[name])
        self.np_random.bit_generator.state = state["random"]


@dataclass(frozen=True)
class Counting:
    """Makes CountingEnv and remembers what it made."""

    offset: int
    lengths: tuple[int, ...]
    saved: bool
    made: list[CountingEnv]

    def __call__(self) -> gymnasium.Env:
        env = (SavedCountingEnv if self.saved else CountingEnv)(self.offset, self.lengths)
        self.made.append(env)
        return env


@pytest.fixture
def counting() -> Callable[..., Task]:
    """counting(name, offset, *lengths): a task of CountingEnv whose episodes last one of ``lengths`` steps."""

    def task(name: str, offset: int, *lengths: int, saved: bool = True) -> Task:
        return Task(name, Counting(offset, lengths or (10**6,), saved, []))

    return task
