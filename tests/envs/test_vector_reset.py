"""What a reset of the batch begins anew, and with which seeds."""

from collections.abc import Callable

import numpy as np
from staying import stay

from envs.catalogue import GAMES
from envs.entries import task_from
from envs.stream import TaskStream
from envs.task import Task
from envs.vector import StreamVectorEnv


def test_first_reset_uses_the_constructor_s_seed(counting: Callable[..., Task]) -> None:
    stream = TaskStream([(counting("a", 1), 4), (counting("b", 2), 400)])
    env = StreamVectorEnv(stream, 2, seed=5)
    assert env.reset()[0][:, 1].tolist() == [5, 6]
    assert StreamVectorEnv(stream, 2, seed=5).reset(seed=7)[0][:, 1].tolist() == [7, 8]
    drawn = [StreamVectorEnv(stream, 2).reset()[0][:, 1] for _ in range(2)]
    assert drawn[0][1] == drawn[0][0] + 1
    assert drawn[0][0] != drawn[1][0]


def test_reset_without_a_seed_keeps_the_position(counting: Callable[..., Task]) -> None:
    env = StreamVectorEnv(TaskStream([(counting("a", 1), 4), (counting("b", 2), 6)]), 2, seed=5)
    env.reset()
    for _ in range(3):
        observations, *_ = env.step(stay(env))
    assert observations[:, 2].tolist() == [1, 1]
    observations, info = env.reset()
    assert observations[:, 2].tolist() == [0, 0]
    assert (env.steps, env.task, info["task"][0], info["task_switched"].any()) == (6, "b", "b", False)


def test_reset_with_a_seed_starts_over(counting: Callable[..., Task]) -> None:
    env = StreamVectorEnv(TaskStream([(counting("a", 1), 4), (counting("b", 2), 6)]), 2, seed=5)
    env.reset()
    for _ in range(3):
        env.step(stay(env))
    observations, info = env.reset(seed=9)
    assert observations.tolist() == [[1, 9, 0], [1, 10, 0]]
    assert (env.steps, env.segment.index, info["segment"].tolist()) == (0, 0, [0, 0])
    env.step(stay(env))
    observations, *_ = env.step(stay(env))
    assert observations[:, 1].tolist() == np.random.SeedSequence((9, 1)).generate_state(2).tolist()


def test_every_later_segment_has_seeds_of_its_own(counting: Callable[..., Task]) -> None:
    a, b = counting("a", 1), counting("b", 2)
    env = StreamVectorEnv(TaskStream([(a, 2), (b, 2), (a, 2), (b, 2)]), 2, seed=4)
    env.reset()
    for segment in (1, 2, 3):
        observations, *_ = env.step(stay(env))
        assert observations[:, 1].tolist() == np.random.SeedSequence((4, segment)).generate_state(2).tolist()


def test_reset_does_not_reorder_the_stream() -> None:
    stream = TaskStream.build([task_from(game) for game in GAMES], steps_per_task=2, order="shuffle", seed=1)
    orders = []
    for seed in (1, 2):
        env = StreamVectorEnv(stream, 2)
        env.reset(seed=seed)
        orders.append([env.step(stay(env))[4]["task"][0] for _ in range(4)])
    assert orders[0] == orders[1] == [stream.segment(index).task.name for index in range(1, 5)]
