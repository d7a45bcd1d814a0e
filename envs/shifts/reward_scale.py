"""Rewards of another size, for learning alone."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.checks import check_number
from envs.games import LIFE_LOST, Games, Seeds, Step
from envs.infos import UNSCALED
from envs.shifts.base import VectorShift
from envs.shifts.wrapper import Shift


class VectorRewardScale(VectorShift):
    """`RewardScale` around a batch of games; ``info["final_info"]`` holds ``unscaled_return`` and its mask."""

    scale: float
    _held = ("returns",)

    def __init__(self, games: Games, *args: Any, **kwargs: Any) -> None:
        super().__init__(games, *args, **kwargs)
        self._returns = np.zeros(self.num_envs)

    def _checked(self, scale: Any) -> dict[str, Any]:
        return {"scale": check_number("scale", scale, "give a factor such as 0.05", above=0)}

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As in `Games`."""
        self._returns = np.zeros(self.num_envs)
        return super().reset(seed=seed, options=options)

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """As in `Games`; rewards are scaled, all else is the games' but for ``unscaled_return``."""
        observations, rewards, terminations, truncations, info = self.games.step(actions, active)
        self._returns += rewards
        ended = terminations | truncations
        if ended.any():
            said = info.get("final_info", {})
            over = ended & ~said.get(LIFE_LOST, np.False_)  # a game that goes on has come to no return yet
            info = info | {"final_info": self._reported(said, over), "_final_info": ended}
            self._returns[over] = 0.0
        return observations, rewards * self.scale, terminations, truncations, info

    def _reported(self, final_info: dict[str, Any], ended: NDArray[np.bool_]) -> dict[str, Any]:
        """``final_info`` with the returns of the games that ``ended``, but for those that an inner shift reports."""
        returns = np.where(ended, self._returns, 0.0)
        if UNSCALED in final_info:
            returns = np.where(final_info[f"_{UNSCALED}"], final_info[UNSCALED], returns)
        return final_info | {UNSCALED: returns, f"_{UNSCALED}": ended.copy()}


class RewardScale(Shift):
    """Multiplies every reward, for learning, and reports the return as if it had not.

    The info of a step that ends an episode holds ``unscaled_return``, the sum of the episode's rewards before scaling.
    A change of sign is another task, not another size: see `RewardSign`.

    Args:
        env: any environment.
        scale: the factor, above 0.

    Raises:
        ValueError: the factor is not a finite number above 0.

    >>> env = RewardScale(gymnasium.make("CartPole-v1", max_episode_steps=3), 0.05)
    >>> _ = env.reset(seed=0)
    >>> for action in (0, 1, 0):
    ...     _, reward, terminated, truncated, info = env.step(action)
    >>> reward, terminated, truncated, info
    (0.05, False, True, {'unscaled_return': 3.0})
    """

    batched = VectorRewardScale

    def __init__(self, env: gymnasium.Env[Any, Any], scale: float) -> None:
        super().__init__(env, scale=scale)
