"""Observations with Gaussian noise."""

import zlib
from typing import Any

import gymnasium
import numpy as np
import pytest
from shifted import Rewarding, assert_same

from envs.control.cartpole import CartPole
from envs.games import SyncGames
from envs.minatar import MinAtarEnv
from envs.shifts import ObservationNoise, VectorObservationNoise, apply_games


def _noise(seed: int, n: int) -> Any:
    key = zlib.crc32(b"observation_noise")
    generator = np.random.default_rng(np.random.SeedSequence((seed, key)))
    return generator.standard_normal(n, np.float32)


def test_the_noise_is_that_of_a_generator_of_its_own() -> None:
    env = ObservationNoise(Rewarding(), 0.5)
    assert env.observation_space == gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    noise = _noise(7, 8).reshape(4, 2) * np.float32(0.5)
    first, _ = env.reset(seed=7)
    np.testing.assert_array_equal(first, noise[0])
    assert first.dtype == np.float32
    np.testing.assert_array_equal(env.step(2)[0], noise[1] + np.float32([1, 2]))
    np.testing.assert_array_equal(env.step(0)[0], noise[2] + np.float32([2, 0]))
    np.testing.assert_array_equal(env.reset()[0], noise[3])  # goes on over episodes


def test_the_world_s_own_draws_are_left_alone() -> None:
    env, bare = ObservationNoise(MinAtarEnv("asterix"), 1.0), MinAtarEnv("asterix")
    env.reset(seed=3)
    bare.reset(seed=3)
    for _ in range(60):
        assert env.step(0)[1:] == bare.step(0)[1:]
    assert_same(env.env.get_state(), bare.get_state())  # type: ignore[attr-defined]


def test_the_noise_has_its_deviation() -> None:
    games = VectorObservationNoise(SyncGames([lambda: MinAtarEnv("breakout")] * 20, "breakout"), 0.3)
    bare = SyncGames([lambda: MinAtarEnv("breakout")] * 20, "breakout")
    noise = games.reset(seed=0)[0] - bare.reset(seed=0)[0]
    # 20,000 draws: standard errors of 0.0021 and 0.0015
    assert abs(noise.mean()) < 0.008
    assert abs(noise.std() - 0.3) < 0.006
    assert len(np.unique(noise[:, 5, 5, 5])) == 20


def test_a_game_that_stands_still_looks_the_same() -> None:
    games = VectorObservationNoise(SyncGames([Rewarding] * 2, "rewarding"), 1.0)
    first, _ = games.reset(seed=0)
    still, *_ = games.step(np.zeros(2, int), np.array([True, False]))
    assert (still[1] == first[1]).all()
    assert (still[0] != first[0]).all()
    again, *_ = games.step(np.zeros(2, int), np.array([False, False]))
    np.testing.assert_array_equal(again, still)
    assert (games.step(np.zeros(2, int))[0] != still).all()


def test_no_deviation_is_no_noise_and_draws_all_the_same() -> None:
    env = ObservationNoise(Rewarding(), 0)
    assert env.reset(seed=7)[0].tolist() == [0.0, 0.0]
    env.configure(std=2.0)
    np.testing.assert_array_equal(env.step(0)[0], _noise(7, 4)[2:] * 2 + np.float32([1, 0]))


@pytest.mark.parametrize("std", [-0.1, np.inf, np.nan, "1", True, None])
def test_std_must_not_be_negative(std: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^std must be a finite number of at least 0, got .*; give a standard deviation such as 0.1$"
    ):
        ObservationNoise(Rewarding(), std)


def test_noise_needs_arrays() -> None:
    env = Rewarding()
    env.observation_space = gymnasium.spaces.Discrete(500)
    with pytest.raises(ValueError, match=r"^ObservationNoise needs observations in a Box, got Discrete\(500\); flat"):
        ObservationNoise(env, 0.1)


def test_two_noises_add_up_as_independent_ones() -> None:
    def games() -> SyncGames:
        return SyncGames([CartPole] * 500, "cartpole")

    noisy, _ = apply_games(games(), [("observation_noise", {"std": 1.0})] * 2).reset(seed=0)
    bare, _ = games().reset(seed=0)
    assert abs((noisy - bare).std() / np.sqrt(2) - 1) < 0.05
