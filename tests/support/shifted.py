"""Worlds whose every step is known, and batches to compare with their twins."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit

from envs.control.cartpole import CartPole
from envs.games import Games, SyncGames
from envs.minatar import MinAtarEnv
from envs.shifts import Specs, VectorShift, apply, apply_games
from envs.state import copied


class Rewarding(gymnasium.Env):
    """Gives the rewards 1, 2, 4, -8 and then ends by itself; observes the 8-bit numbers of its steps and its action."""

    observation_space = gymnasium.spaces.Box(0, 9, (2,), np.uint8)
    action_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(2, np.uint8), {"begun": True}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        reward = (1.0, 2.0, 4.0, -8.0)[self.count - 1]
        return np.array([self.count, action], np.uint8), reward, self.count == 4, False, {"count": self.count}

    def get_state(self) -> dict[str, Any]:
        return {"count": self.count}

    def set_state(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


class Talking(Rewarding):
    """Lasts 1 to 6 steps, and says in some steps what it does not in others."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        first = super().reset(seed=seed)
        self.length = int(self.np_random.integers(1, 7))
        return first

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        info: dict[str, Any] = {"nested": {"count": self.count}}
        if self.count % 2:
            info |= {"odd": float(self.count), "array": np.full(2, self.count)}
        if action == 1:
            info["nested"]["one"] = "yes"
        observation = np.array([self.count, action], np.uint8)
        return observation, self.np_random.normal(), self.count == self.length, False, info

    def get_state(self) -> dict[str, Any]:
        random = copied(self.np_random.bit_generator.state)
        return super().get_state() | {"length": self.length, "random": random}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.length = state["length"]
        self.np_random.bit_generator.state = state["random"]


WORLDS: dict[str, Callable[[], gymnasium.Env]] = {
    "talking": Talking,
    "cartpole": lambda: TimeLimit(CartPole(), 9),
    "breakout": lambda: MinAtarEnv("breakout", 7),
}


class DenseGames(VectorShift):
    """Gives final observations as one array of numbers, as batches do that hold all games in arrays."""

    def _checked(self, *_: Any, **arguments: Any) -> dict[str, Any]:
        return arguments

    def step(self, actions: Any, active: Any = None) -> Any:
        observations, *rest, info = self.games.step(actions, active)
        if "final_obs" in info:
            final = np.full_like(observations, 1)
            for game in np.flatnonzero(info["_final_obs"]):
                final[game] = info["final_obs"][game]
            info["final_obs"] = final
        return observations, *rest, info


def singles(world: Callable[[], gymnasium.Env], n_games: int, specs: Specs) -> SyncGames:
    """Games that are shifted one by one."""
    return SyncGames([lambda: apply(world(), specs)] * n_games, "singles")


def twin(world: Callable[[], gymnasium.Env], n_games: int, specs: Specs) -> Games:
    """The same games, shifted as a batch."""
    return apply_games(SyncGames([world] * n_games, "twin"), specs)


def trace(games: Games, actions: Sequence[Any], masks: Sequence[Any] | None = None) -> list[Any]:
    """Copies of all that the games say in reply to ``actions``; with ``masks``, some stand still."""
    masks = [None] * len(actions) if masks is None else masks
    return [copied(games.step(batch, mask)) for batch, mask in zip(actions, masks, strict=True)]


def random_actions(games: Games, n_steps: int) -> list[Any]:
    """The same actions for every batch of that many games."""
    games.action_space.seed(0)
    return [games.action_space.sample() for _ in range(n_steps)]


def random_masks(n_games: int, n_steps: int) -> list[Any]:
    """Which games play; every third step all do, and it is not said."""
    masks = np.random.default_rng(7).random((n_steps, n_games)) < 0.6
    return [mask if step % 3 else None for step, mask in enumerate(masks)]


def through_json(state: Any) -> Any:
    """The state as it is after it has been text."""
    return json.loads(json.dumps(copied(state), default=lambda array: array.tolist()))


def assert_same(found: Any, expected: Any) -> None:
    """Equality of nested tuples, lists, dicts, arrays and values, with their types."""
    assert type(found) is type(expected)
    if isinstance(found, dict):
        assert found.keys() == expected.keys()
        for key in found:
            assert_same(found[key], expected[key])
    elif isinstance(found, tuple | list):
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(found, np.ndarray) and found.dtype == object:
        assert_same(found.tolist(), expected.tolist())
    else:
        np.testing.assert_array_equal(found, expected)
        assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)
