"""Actions that stick."""

import zlib
from typing import Any

import gymnasium
import numpy as np
import pytest
from shifted import Rewarding

from envs.games import SyncGames
from envs.shifts import StickyActions, VectorStickyActions


class Endless(Rewarding):
    """Tells the action it has executed."""

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.array([0, action], np.uint8), 0.0, False, False, {}


def _uniforms(seed: int, n: int) -> Any:
    return np.random.default_rng(np.random.SeedSequence((seed, zlib.crc32(b"sticky_actions")))).random(n)


def test_what_was_executed_sticks() -> None:
    """600 actions, worked out one by one: a draw below the probability repeats what was executed before."""
    env = StickyActions(Endless(), 0.3)
    env.reset(seed=11)
    actions = np.random.default_rng(0).integers(3, size=600).tolist()
    expected: list[int] = []
    for action, drawn in zip(actions, _uniforms(11, 600), strict=True):
        expected.append(expected[-1] if expected and drawn < 0.3 else action)
    assert [int(env.step(action)[0][1]) for action in actions] == expected
    assert 80 < sum(one != other for one, other in zip(expected, actions, strict=True)) < 160  # 600 x 0.3 x 2/3 = 120


def test_an_episode_s_first_action_is_executed() -> None:
    env = StickyActions(Rewarding(), 1.0)
    for first in (2, 1):
        env.reset()
        assert [int(env.step(action)[0][1]) for action in (first, 0, 0, 0)] == [first] * 4
    games = VectorStickyActions(SyncGames([Rewarding] * 2, "rewarding"), 1.0)
    games.reset()
    games.step(np.array([2, 0]), np.array([True, False]))
    seen = [games.step(np.array([0, 1]))[0][:, 1].tolist() for _ in range(2)]
    assert seen == [[2, 1], [2, 1]]
    *_, info = games.step(np.array([0, 2]))  # the first game's fourth step ends its episode
    assert info["final_obs"][0].tolist() == [4, 2]
    assert games.step(np.array([0, 2]))[0][:, 1].tolist() == [0, 0]
    assert games.step(np.array([1, 2]))[0][:, 1].tolist() == [0, 2]


def test_a_game_that_stands_still_keeps_its_action_and_draws_nothing() -> None:
    games = VectorStickyActions(SyncGames([Endless] * 2, "endless"), 0.5)
    games.reset(seed=3)
    drawn = [iter(_uniforms(3 + game, 400)) for game in range(2)]
    previous: list[int | None] = [None, None]
    generator = np.random.default_rng(0)
    for _ in range(300):
        active, actions = generator.random(2) < 0.7, generator.integers(3, size=2)
        observations, *_ = games.step(actions, active)
        for game in np.flatnonzero(active):
            sticks = next(drawn[game]) < 0.5 and previous[game] is not None
            previous[game] = previous[game] if sticks else int(actions[game])
            assert observations[game, 1] == previous[game]


def test_no_probability_changes_nothing() -> None:
    env = StickyActions(Endless(), 0)
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(3, size=50).tolist()
    assert [int(env.step(action)[0][1]) for action in actions] == actions
    env.configure(probability=1.0)
    assert [int(env.step(action)[0][1]) for action in (0, 1, 2)] == [actions[-1]] * 3


def test_actions_of_arrays_stick_whole() -> None:
    class Pushed(Rewarding):
        action_space = gymnasium.spaces.Box(-1, 1, (2,))
        observation_space = gymnasium.spaces.Box(-1, 1, (2,))

        def step(self, action: Any) -> Any:
            return np.array(action), 0.0, False, False, {}

    pushes = np.random.default_rng(0).uniform(-1, 1, (40, 3, 2)).astype(np.float32)
    games = VectorStickyActions(SyncGames([Pushed] * 3, "pushed"), 0.5)
    single = StickyActions(Pushed(), 0.5)
    games.reset(seed=0)
    single.reset(seed=1)
    push = np.zeros(2, np.float32)
    n_stuck = 0
    for batch in pushes:
        observations, *_ = games.step(batch)
        push[:] = batch[1]  # an action that is overwritten is not remembered as what it becomes
        np.testing.assert_array_equal(single.step(push)[0], observations[1])
        n_stuck += (observations != batch).any(axis=1).sum()
    assert 30 < n_stuck < 90


@pytest.mark.parametrize("probability", [-0.1, 1.1, np.nan, "0.5", True, None])
def test_probability_must_be_one(probability: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^probability must be a finite number from 0 to 1, got .*; give the probability"
    ):
        StickyActions(Rewarding(), probability)


def test_actions_must_be_arrays() -> None:
    env = Rewarding()
    env.action_space = gymnasium.spaces.Tuple([gymnasium.spaces.Discrete(2)])
    with pytest.raises(ValueError, match=r"^StickyActions needs actions that are arrays, got Tuple.*; flatten them$"):
        StickyActions(env, 0.5)
