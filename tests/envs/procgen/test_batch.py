"""Batches of ProcGen games: what of envpool's steps they hand on. Envpool itself plays in `test_envpool`."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from fake_pool import FakePool, install
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from envs.procgen.batch import LEVELS, ProcgenGames


@pytest.fixture(autouse=True)
def pools(monkeypatch: pytest.MonkeyPatch) -> list[FakePool]:
    return install(monkeypatch)


def games(n: int = 3, **arguments: Any) -> ProcgenGames:
    return ProcgenGames("starpilot_hard", n, **arguments)


def elapsed(observations: Any) -> list[int]:
    return np.asarray(observations)[:, 0, 0, 3].tolist()


def test_spaces_are_envpools() -> None:
    made = games()
    assert made.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert made.observation_space.shape == (3, 3, 64, 64)
    assert made.single_observation_space.dtype == np.uint8
    assert made.single_action_space.n == 15  # type: ignore[attr-defined]


def test_every_step_is_a_transition_of_its_game(pools: list[FakePool]) -> None:
    made = games(8)
    before, _ = made.reset(seed=1)
    for step in range(60):
        observations, rewards, terminations, truncations, info = made.step(np.full(8, step % 15))
        assert (rewards == step % 15).all()  # no game has played nothing
        assert rewards.dtype == np.float64
        ended = terminations | truncations
        last = observations.copy()
        if ended.any():
            assert info["_final_obs"].tolist() == info["_final_info"].tolist() == ended.tolist()
            last[ended] = np.stack(info["final_obs"][ended].tolist())
            assert (observations[ended, 0, 0, 2] == before[ended, 0, 0, 2] + 1).all()  # the next episode
        else:
            assert info == {}
        assert elapsed(last) == [steps + 1 for steps in elapsed(before)]
        assert (last[:, 0, 0, 2] == before[:, 0, 0, 2]).all()
        assert (np.array(elapsed(observations)) == 0).tolist() == ended.tolist()
        assert (last[truncations, 0, 0, 3] == 5).all()
        assert (last[terminations, 0, 0, 3] < 5).all()
        before = observations
    (pool,) = pools
    assert (pool.phantoms, pool.given["num_envs"]) == (0, 8)
    assert pool.episodes.min() > 10


def test_what_was_handed_out_stays_as_it_is() -> None:
    made = games()
    kept = [made.reset(seed=1)[0]]
    copies = [kept[0].copy()]
    for _ in range(12):
        observations, *_, info = made.step(np.zeros(3, np.int64))
        found = [observations, *(final for final in info.get("final_obs", ()) if final is not None)]
        kept += found
        copies += [each.copy() for each in found]
    assert all((one == other).all() for one, other in zip(kept, copies, strict=True))


def test_games_that_do_not_take_a_step_stand_still(pools: list[FakePool]) -> None:
    made = games(3)
    first, _ = made.reset(seed=1)
    for _ in range(20):
        active = np.array([True, False, True])
        observations, rewards, terminations, truncations, info = made.step(np.array([3, 4, 5]), active)
        assert rewards.tolist() == [3.0, 0.0, 5.0]
        assert (observations[1] == first[1]).all()
        assert not (terminations | truncations)[1]
        assert not info or not info["_final_obs"][1]
    assert made.step(np.zeros(3, np.int64), np.zeros(3, np.bool_))[1].tolist() == [0.0] * 3
    assert elapsed(made.step(np.zeros(3, np.int64))[0])[1] == 1
    assert pools[0].phantoms == 0


def test_seeds_make_games_anew(pools: list[FakePool]) -> None:
    made = games(2)
    first, _ = made.reset(seed=7)
    made.step(np.zeros(2, np.int64))
    assert (made.reset(seed=7)[0] == first).all()
    assert (made.reset()[0][:, 0, 0, 2] == 2).all()  # the games' next episodes
    assert [pool.given["seed"] for pool in pools] == [[7, 8]] * 2
    made.reset(seed=[2**32 - 1, 2**31])
    assert pools[-1].given["seed"] == [-1, -(2**31)]
    unseeded = [games(2), games(2)]
    assert (unseeded[0].reset()[0] != unseeded[1].reset()[0]).any()


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (
            [1, None],
            r"^seed must be a whole number from 0 to 4294967295 for every game, got \[1, None\]; envpool seeds",
        ),
        (-1, "^seed must be a whole number from 0"),
        (2**32 - 1, "^seed must be a whole number from 0"),
        ([1], "^seed must have one entry for each of the 2 games, got 1"),
    ],
)
def test_seeds_that_are_none(seed: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        games(2).reset(seed=seed)


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


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0, 1], r"actions must be 3 whole numbers, got shape \(2,\) of int64"),
        ([0.0, 1.0, 2.0], r"actions must be 3 whole numbers, got shape \(3,\) of float64"),
        ([0, 15, 1], r"actions must be from 0 to 14, got \[0, 15, 1\]"),
        ([0, -1, 1], r"actions must be from 0 to 14"),
    ],
)
def test_actions_out_of_range(actions: list[Any], message: str) -> None:
    made = games()
    made.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        made.step(np.array(actions))


def test_nothing_is_played_before_a_reset() -> None:
    with pytest.raises(ResetNeeded, match=r"ProcgenGames\.step was called before reset"):
        games().step(np.zeros(3, np.int64))
    with pytest.raises(ResetNeeded, match=r"ProcgenGames\.render was called before reset"):
        games().render()


def test_pictures_are_the_observations() -> None:
    made = games(2, start_level=20, num_levels=1, render_mode="rgb_array")
    made.reset(seed=0)
    made.step(np.zeros(2, np.int64))
    first, second = made.render() or ()
    assert (first.shape, first.dtype) == ((320, 320, 3), np.uint8)
    assert first[:5, :5, 0].tolist() == [[20] * 5] * 5  # the level, in the red channel
    assert first[0, 15, 0] == second[0, 19, 0] == 1  # steps
    assert not first[:, :, 1:].any()
    silent = games()
    silent.reset(seed=0)
    assert silent.render() is None


def test_they_cannot_be_saved_nor_changed() -> None:
    made = games()
    assert not made.saves
    with pytest.raises(NotImplementedError, match="games of ProcGen cannot be saved"):
        made.get_state()
    with pytest.raises(NotImplementedError, match="games of ProcGen cannot be saved"):
        made.set_state({})
    with pytest.raises(ValueError, match="ProcgenGames has no argument that can be changed, got start_level"):
        made.configure(start_level=3)


def test_closing_lets_go_of_the_games(pools: list[FakePool]) -> None:
    made = games()
    made.reset(seed=0)
    pool = weakref.ref(pools.pop())
    made.close()
    gc.collect()
    assert pool() is None
    assert repr(made) == "ProcgenGames('starpilot_hard', 3, start_level=0, num_levels=0)"
