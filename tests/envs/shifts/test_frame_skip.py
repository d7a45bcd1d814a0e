"""Actions that last several steps."""

from typing import Any

import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit
from shifted import Rewarding

from envs.games import SyncGames
from envs.infos import info_of
from envs.shifts import FrameSkip, VectorFrameSkip


def test_rewards_add_up_and_the_end_of_an_episode_ends_the_repetition() -> None:
    env = FrameSkip(Rewarding(), 3)
    env.reset()
    observation, reward, terminated, truncated, info = env.step(2)
    assert (observation.tolist(), reward, terminated, truncated, info) == ([3, 2], 7.0, False, False, {"count": 3})
    observation, reward, terminated, truncated, info = env.step(1)
    assert (observation.tolist(), reward, terminated, truncated, info) == ([4, 1], -8.0, True, False, {"count": 4})


def test_a_limit_inside_counts_the_world_s_steps_and_one_outside_actions() -> None:
    inside, outside = FrameSkip(TimeLimit(Rewarding(), 2), 3), TimeLimit(FrameSkip(Rewarding(), 2), 1)
    for env, reward in ((inside, 3.0), (outside, 3.0)):
        env.reset()
        assert env.step(0)[1:4] == (reward, False, True)


def test_a_game_that_ended_stands_still_in_its_next_episode() -> None:
    games = VectorFrameSkip(SyncGames([Rewarding] * 3, "rewarding"), 3)
    games.reset()
    # Games of 3, 0 and 3 steps ...
    games.step(np.array([0, 1, 2]), np.array([True, False, True]))
    observations, rewards, terminations, truncations, info = games.step(np.array([0, 1, 2]))
    # ... of which the outer ones end with their fourth and then wait for the one in the middle.
    assert observations.tolist() == [[0, 0], [3, 1], [0, 0]]
    assert (rewards.tolist(), terminations.tolist(), truncations.any()) == ([-8, 7, -8], [True, False, True], False)
    assert [row if row is None else row.tolist() for row in info["final_obs"]] == [[4, 0], None, [4, 2]]
    assert info["_final_obs"].tolist() == info["_final_info"].tolist() == [True, False, True]
    assert info["final_info"]["count"].tolist() == [4, 0, 4]
    assert (info["count"].tolist(), info["_count"].tolist()) == ([0, 3, 0], [False, True, False])
    assert info["begun"].tolist() == info["_begun"].tolist() == [True, False, True]
    assert games.step(np.zeros(3, int))[0][:, 0].tolist() == [3, 0, 3]


def test_nobody_plays_on_when_all_have_ended() -> None:
    calls = []

    class Counted(SyncGames):
        def step(self, actions: Any, active: Any = None) -> Any:
            calls.append(None if active is None else active.tolist())
            return super().step(actions, active)

    games = VectorFrameSkip(Counted([Rewarding] * 2, "rewarding"), 9)
    games.reset()
    games.step(np.zeros(2, int))
    assert calls == [None] * 4
    games.step(np.zeros(2, int), np.array([False, True]))
    assert calls[4:] == [[False, True]] * 4


def test_infos_of_other_kinds_are_kept_as_they_are() -> None:
    """Games that end in different steps may say numbers of different kinds under one name."""

    class Changing(Rewarding):
        def step(self, action: int) -> Any:
            *rest, info = super().step(action)
            return *rest, info | {"value": 7 if action else 0.5, "other": {"k": 1} if action else None}

    games = VectorFrameSkip(SyncGames([Changing] * 2, "changing"), 4)
    games.reset()
    games.step(np.array([1, 0]), np.array([True, False]))
    games.configure(skip=2)
    games.step(np.array([1, 0]), np.array([False, True]))
    *_, info = games.step(np.array([1, 0]))
    assert info_of(info, 0) == {"count": 2, "value": 7, "other": {"k": 1}}
    assert info_of(info["final_info"], 1) == {"count": 4, "value": 0.5, "other": None}
    games.reset()
    games.configure(skip=1)
    *_, info = games.step(np.array([1, 0]))
    assert [type(info_of(info, game)["value"]) for game in range(2)] == [int, float]


@pytest.mark.parametrize("skip", [0, -1, 1.5, True, "4", None])
def test_skip_must_be_a_number_of_steps(skip: Any) -> None:
    with pytest.raises(ValueError, match=r"^skip must be a whole number of at least 1, got .*; give the steps that an"):
        FrameSkip(Rewarding(), skip)
