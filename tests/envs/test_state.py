"""The state of an environment and its wrappers."""

from collections.abc import Callable

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import FrameStackObservation, OrderEnforcing, TimeLimit

from envs.minatar import MinAtarEnv
from envs.state import get_env_state, set_env_state
from envs.task import Task


def test_time_limits_are_part_of_the_state(counting: Callable[..., Task]) -> None:
    def wrapped() -> gymnasium.Env:
        return TimeLimit(OrderEnforcing(TimeLimit(counting("a", 1).make_env(), 100)), 8)

    env = wrapped()
    env.reset(seed=0)
    for _ in range(5):
        env.step(0)
    state = get_env_state(env, "a")
    assert state["elapsed"] == [5, 5]
    assert state["env"]["count"] == 5
    other = wrapped()
    other.reset()
    set_env_state(other, state, "a")
    assert [other.step(0)[3] for _ in range(3)] == [False, False, True]


def test_an_env_of_ours_needs_no_wrapper() -> None:
    env = MinAtarEnv("breakout")
    env.reset(seed=0)
    state = get_env_state(env, "breakout")
    assert state["elapsed"] == []
    np.testing.assert_array_equal(state["env"]["variables"]["brick_map"][1:4], np.ones((3, 10)))


def test_what_cannot_be_saved_is_named(counting: Callable[..., Task]) -> None:
    env = gymnasium.make("CartPole-v1", disable_env_checker=True)
    with pytest.raises(NotImplementedError, match="task 'CartPole-v1' cannot be saved: CartPoleEnv has no get_state"):
        get_env_state(env, "CartPole-v1")
    with pytest.raises(NotImplementedError, match="task 'mine' cannot be saved: CartPoleEnv has no get_state"):
        set_env_state(env, {}, "mine")
    stacked = FrameStackObservation(counting("a", 1).make_env(), 2)
    with pytest.raises(NotImplementedError, match="task 'a' cannot be saved: FrameStackObservation has no get_state"):
        get_env_state(stacked, "a")
