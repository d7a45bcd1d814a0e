"""ProcGen's levels, arguments and pictures; its batches are those of all suites, see ``test_games``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fake_pool import FakePool, install

from envs.pool.procgen import LEVELS, ProcgenGames


@pytest.fixture(autouse=True)
def pools(monkeypatch: pytest.MonkeyPatch) -> list[FakePool]:
    return install(monkeypatch)


def games(n: int = 3, **arguments: Any) -> ProcgenGames:
    return ProcgenGames("starpilot_hard", n, **arguments)


def test_spaces_are_envpools() -> None:
    made = games()
    assert made.observation_space.shape == (3, 3, 64, 64)
    assert made.single_observation_space.dtype == np.uint8
    assert made.single_action_space.n == 15  # type: ignore[attr-defined]


def test_levels_and_threads_are_envpools(pools: list[FakePool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    games(9, start_level=20, num_levels=1).reset(seed=0)
    games(3).reset(seed=0)
    ProcgenGames("bigfish_easy", 3, start_level=5, num_levels=200).reset(seed=0)
    keys = ("start_level", "num_levels", "num_threads")
    assert [tuple(pool.given[key] for key in keys) for pool in pools] == [(20, 1, 4), (0, 0, 3), (5, 200, 3)]
    assert [pool.id for pool in pools] == ["StarpilotHard-v0", "StarpilotHard-v0", "BigfishEasy-v0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start_level": -1}, "start_level must be a whole number of at least 0, got -1; give the first level such as"),
        ({"num_levels": 1.5}, "num_levels must be a whole number of at least 0, got 1.5; give how many levels there"),
        ({"start_level": 5}, "num_levels=0 stands for all levels, which begin at 0, got start_level=5; give how many"),
        (
            {"start_level": LEVELS, "num_levels": 1},
            "levels end at 2,147,483,646, got start_level=2,147,483,647 and num_levels=1; give smaller numbers",
        ),
        (
            {"render_mode": "rgb_aray"},
            "render_mode must be None or one of rgb_array, got 'rgb_aray'; did you mean",
        ),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        games(**arguments)


def test_unknown_games() -> None:
    with pytest.raises(
        ValueError, match=r"^a ProcGen task must be one of .*, got 'starpilot_hrd'; did you mean 'starp"
    ):
        ProcgenGames("starpilot_hrd", 2)


def test_pictures_are_the_observations() -> None:
    made = games(2, start_level=20, num_levels=1, render_mode="rgb_array")
    made.reset(seed=0)
    made.step(np.zeros(2, np.int64))
    first, second = made.render() or ()
    assert (first.shape, first.dtype) == ((320, 320, 3), np.uint8)
    assert first[:5, :5, 0].tolist() == [[20] * 5] * 5  # the level, in the red channel
    assert first[0, 15, 0] == second[0, 19, 0] == 1  # steps
    assert not first[:, :, 1:].any()
