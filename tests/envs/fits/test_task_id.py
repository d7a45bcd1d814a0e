"""Observations that tell their task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from shaped import games_of, shaped

from envs.fits import fit_games
from envs.fits.task_id import plan


def told(pattern: Any, count: int, index: int) -> Any:
    """The first observation of a task among others."""
    games = games_of(shaped("a", pattern))
    found = plan(games.single_observation_space, count)
    fitted = fit_games(games, [found.specs[index]])  # type: ignore[list-item]
    assert fitted.single_observation_space == found.space
    observations, _ = fitted.reset(seed=0)
    assert observations.dtype == games.single_observation_space.dtype
    assert found.space.contains(observations[1]) or pattern.dtype.kind == "f"
    return observations[0]


def test_vectors_get_one_number_for_each_task() -> None:
    assert told(np.array([2.0, 3.0], np.float32), 3, 1).tolist() == [2, 3, 0, 1, 0]


def test_boards_and_images_get_one_plane_for_each_task() -> None:
    board = told(np.ones((4, 4, 2), bool), 2, 0)
    assert board.shape == (4, 4, 4)
    assert [board[..., channel].mean() for channel in range(4)] == [1, 1, 1, 0]
    image = told(np.full((3, 8, 8), 7, np.uint8), 2, 1)  # channels first
    assert [set(plane.ravel().tolist()) for plane in image] == [{7}, {7}, {7}, {0}, {255}]


def test_bounds_are_those_of_an_image() -> None:
    space = plan(Box(0, 255, (3, 8, 8), np.uint8), 2).space
    assert space == Box(0, 255, (5, 8, 8), np.uint8)
    vector = plan(Box(-2, 4, (2,)), 1).space
    assert vector == Box(np.array([-2, -2, 0], np.float32), np.array([4, 4, 1], np.float32))


@pytest.mark.parametrize("space", [Discrete(3), Box(0, 1, (4, 4))])
def test_other_observations_are_refused(space: Any) -> None:
    with pytest.raises(ValueError, match="boundary 'observed' puts the task behind vectors and images, and the obs"):
        plan(space, 2)


def test_channels_must_be_told_from_height_and_width() -> None:
    plan(Box(0, 255, (3, 8, 8), np.uint8), 4)
    with pytest.raises(ValueError, match=r"a plane for each of 5 tasks behind the channels of \(3, 8, 8\), which"):
        plan(Box(0, 255, (3, 8, 8), np.uint8), 5)
    plan(Box(0, 255, (64, 64, 3), np.uint8), 60)
    with pytest.raises(ValueError, match=r"a plane for each of 61 tasks behind the channels of \(64, 64, 3\), which"):
        plan(Box(0, 255, (64, 64, 3), np.uint8), 61)  # 64 x 64 x 64, of which SB3 takes the first for the channels
    assert plan(Box(0, 1, (10, 10, 10), bool), 9).space.shape == (10, 10, 19)
