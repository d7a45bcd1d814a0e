"""Observations in the shape of their stream, by numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from shaped import games_of, shaped
from shifted import DenseGames

from envs.fits import fit_games
from envs.fits.observations import plan


def fitted(
    how: str, *patterns: Any, size: Any = None, which: int = -1, dense: bool = False, length: int = 10**6
) -> Any:
    """Games of one of these patterns, two at a time, in the space that they share."""
    tasks = [shaped(f"t{number}", pattern, length=length) for number, pattern in enumerate(patterns)]
    spaces = [games_of(task).single_observation_space for task in tasks]
    found = plan([[task.name] for task in tasks], spaces, how, size)
    games: Any = games_of(tasks[which])
    spec = found.specs[which]
    games = fit_games(DenseGames(games) if dense else games, () if spec is None else [spec])
    assert games.single_observation_space == found.space
    return games


def image(*rows: Any) -> np.ndarray:
    """Rows of grey pixels as an image of one channel, which comes last."""
    return np.array(rows, np.uint8)[..., None]


def test_vectors_get_zeros_at_their_end() -> None:
    games = fitted("pad", np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float32), np.array([2.0, 3.0], np.float64))
    observations, _ = games.reset(seed=0)
    np.testing.assert_array_equal(observations, [[2, 3, 0, 0, 0]] * 2)
    observations, *_ = games.step(np.array([0, 1]))
    np.testing.assert_array_equal(observations, [[4, 6, 0, 0, 0]] * 2)
    assert observations.dtype == np.float64  # which holds both
    assert games.single_observation_space == Box(-np.inf, np.inf, (5,), np.float64)


@pytest.mark.parametrize("dense", [False, True])
def test_last_observations_are_fitted_too(dense: bool) -> None:
    games = fitted("pad", np.ones(3, np.float32), np.array([1.0], np.float32), length=2, dense=dense)
    games.reset(seed=0)
    games.step(np.zeros(2, int), np.array([True, False]))
    observations, _, ended, _, info = games.step(np.zeros(2, int))
    assert ended.tolist() == [True, False]
    np.testing.assert_array_equal(observations, [[1, 0, 0], [2, 0, 0]])
    np.testing.assert_array_equal(info["final_obs"][0], [3, 0, 0])


def test_boards_get_empty_channels() -> None:
    board = np.zeros((10, 10, 4), bool)
    board[7, 2, 3] = True
    games = fitted("pad", np.ones((10, 10, 7), bool), board)
    observations, _ = games.reset(seed=0)
    assert (observations.dtype, observations.shape) == (bool, (2, 10, 10, 7))
    assert np.argwhere(observations).tolist() == [[0, 7, 2, 3], [1, 7, 2, 3]]
    assert games.single_observation_space == Box(0, 1, (10, 10, 7), bool)


def test_images_have_the_first_ones_order_of_axes() -> None:
    """Two channels of 3x4 pixels, channels last -> three of 5x4, channels first."""
    tall = np.zeros((3, 5, 4), np.uint8)
    small = np.arange(24, dtype=np.uint8).reshape(3, 4, 2)
    observations, _ = fitted("pad", tall, small).reset(seed=0)
    assert observations.shape == (2, 3, 5, 4)
    np.testing.assert_array_equal(observations[0, :2, :3], small.transpose(2, 0, 1))
    assert (observations[0, 2].any(), observations[0, :, 3:].any()) == (False, False)
    other, _ = fitted("pad", small, tall + 1).reset(seed=0)
    assert other.shape == (2, 5, 4, 3)
    assert (other == 1).all()


def test_images_are_resized_and_their_channels_padded() -> None:
    colored, grey = np.zeros((4, 6, 3), np.uint8), image([0, 10, 20], [40, 50, 60])
    observations, _ = fitted("resize", colored, grey).reset(seed=0)
    assert observations.shape == (2, 4, 6, 3)
    np.testing.assert_array_equal(observations[1, ..., 0], grey[..., 0].repeat(2, 0).repeat(2, 1))
    assert not observations[..., 1:].any()
    games = fitted("resize", colored, grey, size=(1, 3))
    assert games.reset(seed=0)[0][0].tolist() == [[[20, 0, 0], [30, 0, 0], [40, 0, 0]]]
    assert fitted("resize", colored + 9, grey, size=(1, 3), which=0).reset()[0].tolist() == [[[[9] * 3] * 3]] * 2


SMALL, LARGE = Box(0, 255, (8, 8, 3), np.uint8), Box(0, 255, (16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    ("spaces", "how", "message"),
    [
        ([Discrete(3), Box(-1, 1, (2,))], "pad", r"task 'a' has observations Discrete\(3\), not one array that could"),
        ([Dict(x=SMALL), SMALL], "pad", "not one array that could be fitted; put them into separate streams"),
        ([Box(-1, 1, (2,)), SMALL], "pad", r"'a' and 'b' have observations of shapes \(2,\) and \(8, 8, 3\), which no"),
        ([SMALL, Box(0, 1, (8, 8, 3))], "pad", "tasks 'a' and 'b' have images and other arrays, which learners scale"),
        (
            [Box(0, 1, (8, 8, 3), bool), SMALL],
            "resize",
            "'resize', but task 'a' has observations .* no images of",
        ),
    ],
)
def test_refusals(spaces: Any, how: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan([["a"], ["b"]], spaces, how, None)


def test_what_is_done_is_told() -> None:
    names = [["a"], [f"b#{number}" for number in range(8)]]
    found = plan(names, [SMALL, LARGE], "resize", None)
    assert found.sentence == (
        "observations are (16, 16, 3) of uint8: (8, 8, 3) of a, (16, 16, 3) of b#0, b#1, b#2, b#3, b#4, b#5 and 2 "
        "more; resized and padded with zeros"
    )
    assert found.specs[1] is None
    whole = plan([["a"], ["b"]], [Box(-3, 7, (2,), np.int16), Box(1, 9, (3,), np.int32)], "pad", None)
    assert whole.space == Box(-3, 9, (3,), np.int32)
