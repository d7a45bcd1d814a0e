"""Rewards of another size, and returns that are not."""

from typing import Any

import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit
from shifted import Rewarding, Talking

from agents.vec_env import StreamMonitor, VectorEnvAdapter
from envs.games import SyncGames
from envs.shifts import RewardScale, VectorRewardScale


def test_rewards_are_scaled_and_the_return_is_not() -> None:
    env = RewardScale(Rewarding(), 0.25)
    for _ in range(2):  # the second episode starts from nothing
        env.reset()
        steps = [env.step(0) for _ in range(4)]
        assert [step[1] for step in steps] == [0.25, 0.5, 1.0, -2.0]
        assert [step[2] for step in steps] == [False, False, False, True]
        assert [step[4] for step in steps] == [
            {"count": 1},
            {"count": 2},
            {"count": 3},
            {"count": 4, "unscaled_return": -1.0},
        ]


def test_a_truncated_episode_has_its_return_and_a_broken_off_one_none() -> None:
    env = RewardScale(TimeLimit(Rewarding(), 3), 0.25)
    env.reset()
    env.step(0)
    env.reset()
    infos = [env.step(0)[4] for _ in range(3)]
    assert ["unscaled_return" in info for info in infos] == [False, False, True]
    assert infos[2]["unscaled_return"] == 7.0
    assert type(infos[2]["unscaled_return"]) is float


def test_of_two_scales_the_inner_one_reports() -> None:
    env = RewardScale(RewardScale(TimeLimit(Rewarding(), 2), 0.5), 0.5)
    env.reset()
    assert env.step(0)[1] == 0.25
    _, reward, _, _, info = env.step(0)
    assert (reward, info["unscaled_return"]) == (0.5, 3.0)


def test_the_twin_reports_returns_of_those_that_ended() -> None:
    games = VectorRewardScale(SyncGames([Rewarding] * 2, "rewarding"), 0.25)
    games.reset()
    assert games.step(np.zeros(2, int), np.array([True, False]))[1].tolist() == [0.25, 0.0]
    for _ in range(2):
        games.step(np.zeros(2, int))
    _, rewards, terminations, _, info = games.step(np.zeros(2, int))
    assert (rewards.tolist(), terminations.tolist()) == ([-2.0, 1.0], [True, False])
    final = info["final_info"]
    assert (final["unscaled_return"].tolist(), final["_unscaled_return"].tolist()) == ([-1.0, 0.0], [True, False])
    assert (final["count"].tolist(), info["_final_info"].tolist()) == ([4, 0], [True, False])
    _, rewards, *_, info = games.step(np.zeros(2, int))
    assert rewards.tolist() == [0.25, -2.0]
    assert info["final_info"]["unscaled_return"].tolist() == [0.0, -1.0]


def test_games_that_say_nothing_at_their_end_get_a_report() -> None:
    class Silent(SyncGames):
        def step(self, actions: Any, active: Any = None) -> Any:
            *rest, info = super().step(actions, active)
            return *rest, {key: value for key, value in info.items() if key in ("final_obs", "_final_obs")}

    games = VectorRewardScale(Silent([Rewarding] * 2, "rewarding"), 0.25)
    games.reset()
    infos = [games.step(np.zeros(2, int))[4] for _ in range(4)]
    assert infos[:3] == [{}, {}, {}]
    assert infos[3]["_final_info"].tolist() == [True, True]
    assert infos[3]["final_info"]["unscaled_return"].tolist() == [-1.0, -1.0]


def test_a_return_that_only_some_games_report() -> None:
    class Reporting(Talking):
        """Reports a return of its own after an even number of steps."""

        def step(self, action: int) -> Any:
            *rest, info = super().step(action)
            return *rest, info | ({} if self.count % 2 else {"unscaled_return": 1000.0})

    games = VectorRewardScale(SyncGames([Reporting] * 8, "reporting"), 0.5)
    games.reset(seed=1)
    returns, own, counts = np.zeros(8), 0, np.zeros(8, int)
    for _ in range(30):
        _, rewards, terminations, _, info = games.step(np.zeros(8, int))
        returns += rewards * 2
        counts += 1
        for game in np.flatnonzero(terminations):
            reported = info["final_info"]["unscaled_return"][game]
            assert reported == (returns[game] if counts[game] % 2 else 1000.0)
            own += counts[game] % 2
        returns[terminations], counts[terminations] = 0, 0
    assert own > 5


def test_sb3_s_statistics_show_the_return_before_scaling() -> None:
    games = VectorRewardScale(SyncGames([Rewarding] * 2, "rewarding"), 0.25)
    env = StreamMonitor(VectorEnvAdapter(games))
    env.reset()
    infos = [env.step(np.zeros(2, int))[3] for _ in range(4)]
    assert [info["episode"]["r"] for info in infos[3]] == [-1.0, -1.0]
    assert "episode" not in infos[2][0]


def test_a_changed_scale_leaves_the_return_as_it_is() -> None:
    env = RewardScale(TimeLimit(Rewarding(), 2), 0.5)
    env.reset()
    assert env.step(0)[1] == 0.5
    env.configure(scale=4)
    _, reward, _, _, info = env.step(0)
    assert (reward, info["unscaled_return"]) == (8.0, 3.0)


def test_scale_knows_its_own_state() -> None:
    env = RewardScale(Rewarding(), 0.25)
    env.reset()
    env.step(0)
    env.step(0)
    state = env.get_state()
    assert state == {"made_with": {"scale": 0.25}, "arguments": {"scale": 0.25}, "returns": [3.0]}
    other = RewardScale(TimeLimit(Rewarding(), 1), 0.25)
    other.reset()
    other.set_state(state)
    assert other.step(0)[4]["unscaled_return"] == 4.0
    with pytest.raises(ValueError, match=r"^a state with the scale 0.25 of RewardScale cannot be set on one with 0.5"):
        RewardScale(Rewarding(), 0.5).set_state(state)


@pytest.mark.parametrize("scale", [0, -0.5, np.inf, np.nan, "2", True, None])
def test_scale_must_be_a_positive_number(scale: Any) -> None:
    message = r"^scale must be a finite number above 0, got .*; give a factor such as 0.05$"
    with pytest.raises(ValueError, match=message):
        RewardScale(Rewarding(), scale)
    with pytest.raises(ValueError, match=message):
        VectorRewardScale(SyncGames([Rewarding], "rewarding"), scale)
