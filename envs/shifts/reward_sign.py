"""Rewards of the opposite sign."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.games import Step
from envs.infos import UNSCALED
from envs.shifts.base import VectorShift
from envs.shifts.wrapper import Shift


class VectorRewardSign(VectorShift):
    """`RewardSign` around a batch of games."""

    sign: int

    def _checked(self, sign: Any = -1) -> dict[str, Any]:
        if isinstance(sign, bool) or not isinstance(sign, int | np.integer) or sign not in (-1, 1):
            raise ValueError(f"sign must be 1 or -1, got {sign!r}; give -1 to flip rewards, or 1 to leave them")
        return {"sign": int(sign)}

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """As in `Games`; rewards have their sign, all else is the games'."""
        observations, rewards, terminations, truncations, info = self.games.step(actions, active)
        final_info = info.get("final_info", {})
        if UNSCALED in final_info:
            info = info | {"final_info": final_info | {UNSCALED: final_info[UNSCALED] * self.sign}}
        return observations, rewards * self.sign + 0.0, terminations, truncations, info


class RewardSign(Shift):
    """Multiplies every reward by 1 or -1: a task whose aim is the opposite.

    Unlike the factor of `RewardScale`, the sign changes the task, so that its return is the flipped one: nothing is
    reported besides, and the ``unscaled_return`` of a `RewardScale` inside is flipped along, with the sign that the
    episode ends with. In either order of the two shifts an episode's return is that of the flipped, unscaled rewards.

    Args:
        env: any environment.
        sign: 1 or -1.

    Raises:
        ValueError: the sign is neither.

    >>> env = RewardSign(gymnasium.make("CartPole-v1"), -1)
    >>> _ = env.reset(seed=0)
    >>> env.step(0)[1]
    -1.0
    """

    batched = VectorRewardSign

    def __init__(self, env: gymnasium.Env[Any, Any], sign: int = -1) -> None:
        super().__init__(env, sign=sign)
