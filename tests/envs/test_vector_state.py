"""The state of a batch decides all that follows."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium.wrappers import OrderEnforcing, TimeLimit
from staying import stay

from envs.catalogue import GAMES
from envs.entries import task_from
from envs.making import make
from envs.state import copied
from envs.stream import TaskStream
from envs.task import Task
from envs.vector import StreamVectorEnv


def _record(env: StreamVectorEnv, actions: np.ndarray) -> list[Any]:
    seen = []
    for batch in actions:
        observations, rewards, terminations, truncations, info = env.step(batch)
        final = [None if obs is None else obs.tobytes() for obs in info.get("final_obs", [])]
        flags = (terminations.tolist(), truncations.tolist(), info["task_switched"].tolist(), info["segment"].tolist())
        seen.append((observations.tobytes(), rewards.tolist(), flags, final, env.steps))
    return seen


@pytest.mark.parametrize("at", [0, 7, 25, 60, 90])
def test_state_continues_exactly_across_switches(at: int) -> None:
    """Taken before, at and after a switch, a state decides all that follows, later switches included."""
    stream = TaskStream.build([task_from(game, 40) for game in GAMES], steps_per_task=100)
    actions = np.random.default_rng(5).integers(6, size=(180, 4))
    env = StreamVectorEnv(stream, 4, seed=2)
    env.reset()
    _record(env, actions[:at])
    state = env.get_state()
    expected = _record(env, actions[at:])
    assert expected[-1][2][3] == [4] * 4
    other = StreamVectorEnv(stream, 4)
    other.set_state(state)
    assert (other.steps, other.segment) == (4 * at, stream.segment(at // 25))
    assert _record(other, actions[at:]) == expected
    env.set_state(state)  # and in an env that has gone on
    assert _record(env, actions[at:]) == expected
    json.dumps(state, default=lambda array: array.tolist())


def test_state_of_wrapped_environments(counting: Callable[..., Task]) -> None:
    task = counting("a", 1)
    limited = Task("limited", lambda: OrderEnforcing(TimeLimit(task.make_env(), 7)))
    env = StreamVectorEnv(TaskStream([(limited, 1000)]), 2, seed=0)
    env.reset()
    for _ in range(5):
        env.step(stay(env))
    state = env.get_state()
    other = StreamVectorEnv(TaskStream([(limited, 1000)]), 2)
    other.set_state(state)
    assert [other.step(stay(env))[3].tolist() for _ in range(2)] == [[False, False], [True, True]]


def test_reset_after_set_state_keeps_the_position(counting: Callable[..., Task]) -> None:
    stream = TaskStream([(counting("a", 1), 4), (counting("b", 2), 6)])
    env = StreamVectorEnv(stream, 2, seed=5)
    env.reset()
    for _ in range(3):
        env.step(stay(env))
    other = StreamVectorEnv(stream, 2, seed=77)
    other.set_state(env.get_state())
    observations, _ = other.reset()
    assert (other.steps, other.task, observations[:, 2].tolist()) == (6, "b", [0, 0])


def test_states_that_do_not_fit_are_refused(counting: Callable[..., Task]) -> None:
    a, b = counting("a", 1), counting("b", 2)
    env = StreamVectorEnv(TaskStream([(a, 4), (b, 6)]), 2, seed=5)
    env.reset()
    for _ in range(3):
        env.step(stay(env))
    state = env.get_state()
    with pytest.raises(ValueError, match="a state of 2 games cannot be set on n_envs=3; make as many games"):
        StreamVectorEnv(TaskStream([(a, 4), (b, 6)]), 3).set_state(state)
    for segments in ([(a, 4), (a, 6)], [(a, 4)], [(a, 400), (b, 400)]):
        other = StreamVectorEnv(TaskStream(segments), 2)
        with pytest.raises(ValueError, match=r"a state of segment 1 \(task 'b'\) at step 6 cannot be set on a stream"):
            other.set_state(state)


def test_tasks_without_a_state_are_named() -> None:
    env = StreamVectorEnv(TaskStream([(task_from("CartPole-v1"), 10)]), 2, seed=0)
    env.reset()
    with pytest.raises(NotImplementedError, match="task 'CartPole-v1' cannot be saved"):
        env.get_state()


def _trace(env: StreamVectorEnv, actions: np.ndarray) -> list[Any]:
    return [copied(env.step(action)) for action in actions]


def _assert_same(found: Any, expected: Any) -> None:
    """Equality of nested tuples, lists, dicts, arrays and values."""
    assert type(found) is type(expected)
    if isinstance(found, dict):
        assert found.keys() == expected.keys()
        for key in found:
            _assert_same(found[key], expected[key])
    elif isinstance(found, tuple | list):
        for one, other in zip(found, expected, strict=True):
            _assert_same(one, other)
    elif isinstance(found, np.ndarray) and found.dtype == object:
        _assert_same(found.tolist(), expected.tolist())
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["cchain/cartpole", "cchain/acrobot", "pendulum5"])
@pytest.mark.parametrize("steps_per_task", [10_000, 1_240])
def test_control_streams_continue_exactly(name: str, steps_per_task: int) -> None:
    """300 batch steps of four games, saved; 200 more, which with the shorter tasks go through a switch."""

    def stream() -> StreamVectorEnv:
        return make(name, n_envs=4, seed=3, steps_per_task=steps_per_task)

    env = stream()
    env.action_space.seed(0)
    actions = np.stack([env.action_space.sample() for _ in range(500)])
    env.reset()
    _trace(env, actions[:300])
    state = env.get_state()
    text = json.dumps(state, default=lambda array: array.tolist())
    expected = _trace(env, actions[300:])
    switches = [bool(step[4]["task_switched"][0]) for step in expected]
    assert sum(switches) == (steps_per_task == 1_240)
    assert json.dumps(state, default=lambda array: array.tolist()) == text
    other = stream()
    other.set_state(state)
    _assert_same(_trace(other, actions[300:]), expected)


def test_a_state_of_other_offsets_is_refused() -> None:
    env = make("cchain/cartpole", seed=3, steps_per_task=5)
    env.reset()
    _trace(env, np.zeros((7, 1), np.int64))
    assert env.task == "level_1"
    make("cchain/cartpole", seed=4, stream_seed=3, steps_per_task=5).set_state(env.get_state())
    with pytest.raises(ValueError, match=r"^a state of task 'level_1' with .*offset.* cannot be set on one with"):
        make("cchain/cartpole", seed=3, stream_seed=4, steps_per_task=5).set_state(env.get_state())
