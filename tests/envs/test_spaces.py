"""One space for a whole stream."""

from collections.abc import Callable
from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from envs.catalogue import GAMES
from envs.entries import task_from, tasks_from
from envs.spaces import common_spaces
from envs.task import Task


def test_games_share_their_spaces() -> None:
    shared = common_spaces([task_from(game) for game in GAMES])
    assert shared.observation_space == gymnasium.spaces.Box(0, 1, (10, 10, 10), np.bool_)
    assert (shared.action_space, shared.sentences) == (gymnasium.spaces.Discrete(6), ())


def test_one_env_of_each_task_is_made_and_closed(counting: Callable[..., Task]) -> None:
    tasks = [counting("a", 1), counting("b", 2)]
    common_spaces(tasks)
    for task in tasks:
        assert [env.closed for env in task.world.made] == [True]  # type: ignore[attr-defined]


def test_different_observation_spaces_are_refused() -> None:
    tasks = [task_from("breakout"), task_from("asterix"), task_from("CartPole-v1")]
    with pytest.raises(ValueError, match="'breakout' and 'CartPole-v1' have different observation spaces") as refusal:
        common_spaces(tasks)
    for task in (tasks[0], tasks[2]):
        assert str(task.make_env().observation_space) in str(refusal.value)
    assert "separate streams" in str(refusal.value)


def test_different_action_spaces_are_refused() -> None:
    tasks = [task_from("MountainCar-v0"), task_from("MountainCarContinuous-v0")]
    with pytest.raises(ValueError, match="different action spaces, Discrete"):
        common_spaces(tasks)


def test_a_task_that_cannot_be_made_is_named() -> None:
    with pytest.raises(ValueError, match=r"task 'Pendulum-v1\(gg=1\)' cannot be made \(TypeError: .*'gg'"):
        common_spaces([task_from({"id": "Pendulum-v1", "gg": 1})])


def test_a_task_without_spaces_is_named() -> None:
    class Bare(gymnasium.Env):
        pass

    with pytest.raises(ValueError, match=r"task 'bare' cannot be made \(AttributeError: .*'action_space'"):
        common_spaces([Task("bare", Bare)])


# ---------------------------------------------------------------------- variants


def test_variants_share_one_game(counting: Callable[..., Task]) -> None:
    """Of one that is made, whatever their number; the first of another world is made again."""
    a, b = counting("a", 1), counting("b", 2)
    noisy = [replace(a, name=f"a#{std}", shifts=(("observation_noise", {"std": std}),)) for std in range(50)]
    space = common_spaces([*noisy, replace(b, shifts=(("observation_noise", {"std": 1}),))]).observation_space
    assert space == gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    assert [len(task.world.made) for task in (a, b)] == [1, 1]  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="'a' and 'a#0' have different observation spaces"):
        common_spaces([a, *noisy])


def test_a_shift_that_a_later_variant_refuses_is_named(counting: Callable[..., Task]) -> None:
    a = counting("a", 1)
    tasks = [replace(a, name=f"a#{std}", shifts=(("observation_noise", {"std": std}),)) for std in (1, 2, -3)]
    with pytest.raises(ValueError, match=r"^task 'a#-3' cannot be made \(ValueError: std must be .*, got -3"):
        common_spaces(tasks)


def test_one_permutation_s_space_serves_all_of_them() -> None:
    """CartPole's bounds differ from number to number: all get the widest."""
    tasks, _ = tasks_from({"id": "CartPole-v1", "shifts": ["pixel_permutation"], "variants": 20})
    space = common_spaces(tasks).observation_space
    for task in tasks:
        env = task.make_env()
        assert env.observation_space == space
        assert space.contains(env.reset(seed=0)[0])
