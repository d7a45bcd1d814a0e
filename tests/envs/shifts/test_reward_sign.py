"""Rewards of the opposite sign."""

import math
from typing import Any

import numpy as np
import pytest
from shifted import Rewarding, twin

from envs.shifts import RewardSign, apply


def test_rewards_are_flipped() -> None:
    env = RewardSign(Rewarding())
    env.reset()
    steps = [env.step(0) for _ in range(4)]
    assert [step[1] for step in steps] == [-1.0, -2.0, -4.0, 8.0]
    assert steps[3][4] == {"count": 4}
    env = RewardSign(Rewarding(), 1)
    env.reset()
    assert env.step(0)[1] == 1.0


@pytest.mark.parametrize("order", [1, -1], ids=["sign outside", "scale outside"])
def test_the_return_is_the_flipped_one_in_any_order(order: int) -> None:
    specs = [("reward_scale", {"scale": 0.25}), ("reward_sign", {"sign": -1})][::order]
    env = apply(Rewarding(), specs)
    env.reset()
    steps = [env.step(0) for _ in range(4)]
    assert [step[1] for step in steps] == [-0.25, -0.5, -1.0, 2.0]
    assert steps[3][4]["unscaled_return"] == 1.0
    games = twin(Rewarding, 2, specs)
    games.reset()
    infos = [games.step(np.zeros(2, int))[4] for _ in range(4)]
    assert infos[3]["final_info"]["unscaled_return"].tolist() == [1.0, 1.0]


def test_nothing_stays_a_plain_zero() -> None:
    games = twin(Rewarding, 2, [("reward_sign", {})])
    games.reset()
    rewards = games.step(np.zeros(2, int), np.array([True, False]))[1]
    assert rewards.tolist() == [-1.0, 0.0]
    assert math.copysign(1, rewards[1]) == 1


@pytest.mark.parametrize("sign", [0, 2, -1.0, True, "-1", None])
def test_sign_must_be_one_of_two(sign: Any) -> None:
    with pytest.raises(ValueError, match=r"^sign must be 1 or -1, got .*; give -1 to flip rewards, or 1 to leave"):
        RewardSign(Rewarding(), sign)
