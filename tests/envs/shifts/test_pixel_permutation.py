"""Observations whose positions are permuted."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shifted import Rewarding

from envs.games import SyncGames
from envs.minatar import MinAtarEnv
from envs.shifts import PixelPermutation, VectorPixelPermutation


class Shown(gymnasium.Env):
    """Shows one given observation."""

    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, shown: Any, space: gymnasium.Space | None = None) -> None:
        self.shown = np.asarray(shown)
        full = np.iinfo(self.shown.dtype) if self.shown.dtype.kind in "iu" else None
        low, high = (full.min, full.max) if full else (-9, 9)
        self.observation_space = space or gymnasium.spaces.Box(low, high, self.shown.shape, self.shown.dtype.type)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return self.shown, {}


def test_numbers_of_a_vector_change_places() -> None:
    env = PixelPermutation(Shown(np.array([10, 11, 12, 13], np.uint8)), seed=2)
    assert env.permutation.tolist() == np.random.default_rng(2).permutation(4).tolist() == [3, 2, 0, 1]
    assert env.reset()[0].tolist() == [13, 12, 10, 11]
    assert env.reset()[0].dtype == np.uint8


def test_channels_of_a_position_stay_together() -> None:
    """2 x 2 positions of 3 channels, in C order."""
    shown = np.arange(12, dtype=np.int16).reshape(2, 2, 3)
    env = PixelPermutation(Shown(shown), seed=2)
    assert env.reset()[0].tolist() == [[[9, 10, 11], [6, 7, 8]], [[0, 1, 2], [3, 4, 5]]]


def test_a_board_without_channels_is_positions_alone() -> None:
    env = PixelPermutation(Shown(np.arange(4.0).reshape(2, 2)), seed=2)
    assert env.reset()[0].tolist() == [[3, 2], [0, 1]]


def test_one_pixel_of_a_game_is_found_where_it_was_put() -> None:
    """Breakout's paddle is at row 9, column 4, channel 0, and its space stays what it was."""
    env = PixelPermutation(MinAtarEnv("breakout"), seed=1)
    assert env.observation_space == MinAtarEnv("breakout").observation_space
    observation, _ = env.reset(seed=0)
    rows, columns = np.nonzero(observation[:, :, 0])
    assert env.permutation[10 * rows + columns].tolist() == [94]
    bare, _ = MinAtarEnv("breakout").reset(seed=0)
    assert sorted(map(bytes, observation.reshape(100, 10))) == sorted(map(bytes, bare.reshape(100, 10)))


def test_one_space_serves_all_permutations() -> None:
    low, high = np.array([-1, -2, -3], np.float32), np.array([1, np.inf, 3], np.float32)
    shown = Shown(np.zeros(3, np.float32), gymnasium.spaces.Box(low, high))
    widest = gymnasium.spaces.Box(-3, np.inf, (3,), np.float32)
    assert {str(PixelPermutation(shown, seed).observation_space) for seed in range(9)} == {str(widest)}
    assert PixelPermutation(shown, 1).observation_space == widest
    # Channels do not mix, so that each keeps bounds of its own.
    low = np.zeros((2, 2, 2), np.float32)
    low[0, 1, 1] = -5
    boards = Shown(np.zeros((2, 2, 2), np.float32), gymnasium.spaces.Box(low, np.ones_like(low)))
    expected = gymnasium.spaces.Box(np.broadcast_to(np.float32([0, -5]), (2, 2, 2)), np.ones((2, 2, 2), np.float32))
    assert PixelPermutation(boards, 1).observation_space == expected


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    seed=st.integers(0, 2**40),
    dtype=st.sampled_from([np.uint8, np.float32, np.float64, np.int16]),
)
def test_a_permutation_loses_nothing(shape: list[int], seed: int, dtype: Any) -> None:
    shown = (np.arange(np.prod(shape)) % 120).astype(dtype).reshape(shape)
    env = PixelPermutation(Shown(shown), seed)
    observation, _ = env.reset()
    assert (observation.shape, observation.dtype) == (shown.shape, shown.dtype)
    assert sorted(env.permutation) == list(range(env.permutation.size))
    width = shape[-1] if len(shape) > 2 else 1
    back = observation.reshape(-1, width)[np.argsort(env.permutation)]
    np.testing.assert_array_equal(back.reshape(shape), shown)


def test_the_twin_takes_views_of_other_arrays() -> None:
    """Observations that do not lie in one piece are permuted as those that do."""
    games = VectorPixelPermutation(SyncGames([lambda: MinAtarEnv("breakout")] * 3, "breakout"), 4)
    boards = np.random.default_rng(0).random((3, 10, 10, 10)) < 0.3
    expected = games._shifted(boards)
    found = games._shifted(np.asfortranarray(boards))
    np.testing.assert_array_equal(found, expected)
    for game in range(3):
        np.testing.assert_array_equal(expected[game].reshape(100, 10), boards[game].reshape(100, 10)[games.permutation])


def test_another_seed_is_another_permutation() -> None:
    env = PixelPermutation(Shown(np.arange(20, dtype=np.uint8)), seed=1)
    first = env.reset()[0]
    env.configure(seed=2)
    second = env.reset()[0]
    assert first.tolist() != second.tolist()
    np.testing.assert_array_equal(second, np.random.default_rng(2).permutation(20))


def test_refusals() -> None:
    for seed in (-1, 1.5, None, True):
        with pytest.raises(ValueError, match=r"^seed must be a whole number of at least 0, got .*; give a number such"):
            PixelPermutation(Rewarding(), seed)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^PixelPermutation needs observations of several numbers, got Box.*; drop"):
        PixelPermutation(Shown(np.float32(1)), 1)
    with pytest.raises(ValueError, match=r"^PixelPermutation needs observations in a Box, got Discrete\(5\); flatten"):
        PixelPermutation(Shown(1, gymnasium.spaces.Discrete(5)), 1)
