"""Rewards of another size, for learning alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.checks import check_number
from envs.games import Games, Step
from envs.shifts.base import Arguments, EnvStep, Shift, VectorShift

UNSCALED = "unscaled_return"
"""Key of the info of a step that ends an episode: the return before scaling."""


class _Scaling(Arguments):
    scale: float

    def _checked(self, scale: Any) -> dict[str, Any]:
        return {"scale": check_number("scale", scale, "give a factor such as 0.05", above=0)}


class RewardScale(_Scaling, Shift):
    """Multiplies every reward, for learning, and reports the return as if it had not.

    The info of a step that ends an episode holds ``unscaled_return``, the sum of the episode's rewards before scaling.
    A change of sign is another task, not another size: see `RewardSign`.

    Args:
        env: Any environment.
        scale: The factor, above 0.

    Raises:
        ValueError: If the factor is not a finite number above 0.

    >>> env = RewardScale(gymnasium.make("CartPole-v1", max_episode_steps=3), 0.05)
    >>> _ = env.reset(seed=0)
    >>> for action in (0, 1, 0):
    ...     _, reward, terminated, truncated, info = env.step(action)
    >>> reward, terminated, truncated, info
    (0.05, False, True, {'unscaled_return': 3.0})
    """

    def __init__(self, env: gymnasium.Env[Any, Any], scale: float) -> None:
        super().__init__(env, scale=scale)
        self._return = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self._return = 0.0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> EnvStep:
        """Take a step; the reward is scaled, all else is the environment's but for ``unscaled_return``."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        unscaled = float(reward)
        self._return += unscaled
        if terminated or truncated:
            # Where rewards are scaled twice, the inner wrapper knows the true return.
            info = {UNSCALED: self._return} | info
        return observation, unscaled * self.scale, terminated, truncated, info

    def get_state(self) -> dict[str, Any]:
        """The factor, so that a state of another world is noticed, and the return of the episode so far."""
        return super().get_state() | {"return": self._return}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on with the return that the episode had.

        Raises:
            ValueError: If it was saved by a shift that was made with another factor.
        """
        super().set_state(state)
        self._return = state["return"]


class VectorRewardScale(_Scaling, VectorShift):
    """The twin of `RewardScale`; ``info["final_info"]`` holds ``unscaled_return`` and its mask.

    Args:
        games: Any batch of games.
        scale: The factor, above 0.

    Raises:
        ValueError: As for `RewardScale`.
    """

    def __init__(self, games: Games, scale: float) -> None:
        super().__init__(games, scale=scale)
        self._returns = np.zeros(self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """As in `Games`."""
        self._returns = np.zeros(self.num_envs)
        return self.games.reset(seed=seed, options=options)

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """As in `Games`; rewards are scaled, all else is the games' but for ``unscaled_return``."""
        observations, rewards, terminations, truncations, info = self.games.step(actions, active)
        self._returns += rewards
        ended = terminations | truncations
        if ended.any():
            info = info | {"final_info": self._reported(info.get("final_info", {}), ended), "_final_info": ended}
            self._returns[ended] = 0.0
        return observations, rewards * self.scale, terminations, truncations, info

    def _reported(self, final_info: dict[str, Any], ended: NDArray[np.bool_]) -> dict[str, Any]:
        """``final_info`` with the returns of the games that ``ended``, but for those that an inner shift reports."""
        returns = np.where(ended, self._returns, 0.0)
        if UNSCALED in final_info:
            returns = np.where(final_info[f"_{UNSCALED}"], final_info[UNSCALED], returns)
        return final_info | {UNSCALED: returns, f"_{UNSCALED}": ended.copy()}

    def get_state(self) -> dict[str, Any]:
        """The state of the games, the factor, and the returns of the episodes so far."""
        return super().get_state() | {"returns": self._returns.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        """As in `Games`."""
        super().set_state(state)
        self._returns = np.array(state["returns"], np.float64)
