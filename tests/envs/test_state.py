"""The state of an environment and its wrappers."""

from collections.abc import Callable

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import FrameStackObservation, OrderEnforcing, TimeLimit

from envs.minatar import MinAtarEnv
from envs.shifts import ObservationOffset, RewardScale
from envs.state import Layer, can_save, copied, get_env_state, set_env_state
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


def test_every_shift_is_part_of_the_state(counting: Callable[..., Task]) -> None:
    def wrapped() -> gymnasium.Env:
        inner = RewardScale(TimeLimit(counting("a", 3).make_env(), 8), 0.5)
        return RewardScale(OrderEnforcing(ObservationOffset(inner, [1.0, 2.0, 3.0])), 0.25)

    env = wrapped()
    env.reset(seed=0)
    for _ in range(5):
        env.step(0)
    state = get_env_state(env, "a")
    assert (state["elapsed"], state["env"]["count"]) == ([5], 5)
    outer, offset, inner = state["shifts"]
    assert (outer["arguments"], outer["returns"]) == ({"scale": 0.25}, 7.5)
    assert offset["arguments"]["offset"].tolist() == [1.0, 2.0, 3.0]
    assert (inner["arguments"], inner["returns"]) == ({"scale": 0.5}, 15.0)
    other = wrapped()
    other.reset()
    set_env_state(other, state, "a")
    infos = [other.step(0)[4].get("unscaled_return") for _ in range(3)]
    assert infos == [None, None, 24.0]


def test_plain_values_are_copies() -> None:
    array = np.arange(3)
    value = {"a": [array, np.float32(1.5)], "b": {"c": np.bool_(True), "d": None}}
    copy = copied(value)
    array[0] = 9
    assert copy["a"][0].tolist() == [0, 1, 2]
    assert (copy["a"][1], copy["b"]) == (1.5, {"c": True, "d": None})
    assert (type(copy["a"][1]), type(copy["b"]["c"])) == (float, bool)


def test_an_env_of_ours_needs_no_wrapper() -> None:
    env = MinAtarEnv("breakout")
    env.reset(seed=0)
    state = get_env_state(env, "breakout")
    assert (state["elapsed"], state["shifts"]) == ([], [])
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


def test_what_can_be_saved(counting: Callable[..., Task]) -> None:
    assert can_save(counting("a", 1).make_env())
    assert can_save(RewardScale(TimeLimit(OrderEnforcing(counting("a", 1).make_env()), 8), 0.5))
    assert not can_save(counting("a", 1, saved=False).make_env())
    assert not can_save(FrameStackObservation(TimeLimit(counting("a", 1, saved=False).make_env(), 8), 2))


def test_a_layer_says_what_it_holds() -> None:
    layer = Layer(gymnasium.make("CartPole-v1"))
    with pytest.raises(NotImplementedError):
        layer.get_state()
    with pytest.raises(NotImplementedError):
        layer.set_state({})
