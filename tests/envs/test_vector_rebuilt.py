"""Batches whose games cannot be saved: they are rebuilt from a number."""

import json
from collections.abc import Callable

import pytest
from gymnasium.error import ResetNeeded
from staying import stay

from envs.state import copied
from envs.stream import TaskStream
from envs.task import Task
from envs.vector import StreamVectorEnv


def _unsaved(counting: Callable[..., Task], saved: bool = False) -> StreamVectorEnv:
    tasks = [counting(name, offset, 5, 9, saved=saved) for name, offset in (("a", 1), ("b", 2))]
    return StreamVectorEnv(TaskStream.build(tasks, steps_per_task=20), 2)


def test_rebuilt_games_go_on_as_their_state_says(counting: Callable[..., Task]) -> None:
    env = _unsaved(counting)
    assert not env.saves_games
    env.reset(seed=3)
    for _ in range(12):
        env.step(stay(env))
    with pytest.raises(NotImplementedError, match="CountingEnv has no get_state"):
        env.get_state()
    before = env.envs
    env.rebuild(24)
    assert env.envs is not before
    first, info = env.reset()
    assert (env.steps, env.task, info["segment"].tolist()) == (24, "b", [1, 1])
    state = json.loads(json.dumps(copied(env.get_state())))
    assert (state["rebuilt"], state["games"]) == (24, None)
    other = _unsaved(counting)
    other.set_state(state)
    assert (other.steps, other.task) == (24, "b")
    for _ in range(6):
        for left, right in zip(env.step(stay(env))[:4], other.step(stay(other))[:4], strict=True):
            assert (left == right).all()
    assert first[0, 1] != first[1, 1]  # each game has its own seed
    with pytest.raises(NotImplementedError, match="CountingEnv has no get_state"):
        env.get_state()  # a step has been taken since


def test_the_number_decides_the_rebuilt_games(counting: Callable[..., Task]) -> None:
    seeds = []
    for seed, number in ((3, 8), (3, 8), (3, 9), (4, 8)):
        env = _unsaved(counting)
        env.reset(seed=seed)
        env.step(stay(env))
        env.rebuild(number)
        seeds.append(env.reset()[0][:, 1].tolist())
    assert seeds[0] == seeds[1]
    assert len({tuple(found) for found in seeds}) == 3


def test_rebuilding_leaves_the_stream_where_it_is(counting: Callable[..., Task]) -> None:
    env = _unsaved(counting, saved=True)
    assert env.saves_games
    with pytest.raises(ResetNeeded, match=r"rebuild was called before reset"):
        env.rebuild(0)
    env.reset(seed=3)
    for _ in range(9):
        env.step(stay(env))
    env.rebuild(18)
    env.reset()
    assert env.step(stay(env))[4]["task_switched"].all()
    assert (env.steps, env.task) == (20, "b")
    with pytest.raises(ValueError, match="number must be a whole number of at least 0"):
        env.rebuild(-1)
    env.reset(seed=5)  # begins the stream anew
    assert (env.steps, env.task) == (0, "a")
