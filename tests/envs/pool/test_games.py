"""What batches of all suites hand on of envpool's steps. Envpool itself plays in `test_envpool`."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_pool import FakePool, install
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from envs.pool.atari import AtariGames
from envs.pool.dmc import DMCGames
from envs.pool.games import PoolGames
from envs.pool.metaworld import MetaWorldGames
from envs.pool.procgen import ProcgenGames

Make = Callable[..., PoolGames]
SUITES = {
    "ProcGen": (ProcgenGames, "starpilot_hard", 15),
    "Atari": (AtariGames, "atari/pong", 18),
    "DeepMind Control": (DMCGames, "dmc/walker-walk", 6),
    "Meta-World": (MetaWorldGames, "metaworld/push-wall", 4),
}
"""Class, task, and how many actions there are, or numbers in one."""


@pytest.fixture(autouse=True)
def pools(monkeypatch: pytest.MonkeyPatch) -> list[FakePool]:
    return install(monkeypatch)


@pytest.fixture(params=SUITES)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a batch of games of a suite."""
    games, task, _ = SUITES[request.param]
    return lambda n=3, **arguments: games(task, n, **arguments)


def told(observations: Any) -> Any:
    """Level, seed, episode and its steps, of each game."""
    return np.asarray(observations).reshape(len(observations), -1)[:, :4].astype(np.int64)


def elapsed(observations: Any) -> list[int]:
    return told(observations)[:, 3].tolist()


def actions(games: PoolGames, *first: float) -> Any:
    """Actions that begin with these numbers."""
    space = games.single_action_space
    if space.shape == ():
        return np.array(first, np.int64)
    given = np.zeros((len(first), *(space.shape or ())), np.float32)
    given[:, 0] = first
    return given


def test_episodes_restart_in_the_step_that_ends_them(make: Make) -> None:
    made = make()
    assert made.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert made.observation_space.shape == (3, *(made.single_observation_space.shape or ()))
    assert made.single_observation_space.dtype in (np.uint8, np.float32)


def test_every_step_is_a_transition_of_its_game(make: Make, pools: list[FakePool]) -> None:
    made = make(8)
    before, _ = made.reset(seed=1)
    assert before in made.observation_space
    for step in range(60):
        observations, rewards, terminations, truncations, info = made.step(actions(made, *[step % 2] * 8))
        assert observations in made.observation_space
        assert (rewards == step % 2).all()  # no game has played nothing
        assert rewards.dtype == np.float64
        ended = terminations | truncations
        last = observations.copy()
        if ended.any():
            assert info["_final_obs"].tolist() == info["_final_info"].tolist() == ended.tolist()
            last[ended] = np.stack(info["final_obs"][ended].tolist())
            assert (told(observations)[ended, 2] == told(before)[ended, 2] + 1).all()  # the next episode
        else:
            assert set(info) == {key for name in made.told for key in (name, f"_{name}")}
        assert elapsed(last) == [steps + 1 for steps in elapsed(before)]
        assert (told(last)[:, 2] == told(before)[:, 2]).all()
        assert (np.array(elapsed(observations)) == 0).tolist() == ended.tolist()
        assert (told(last)[truncations, 3] == 5).all()
        assert (told(last)[terminations, 3] < 5).all()
        before = observations
    (pool,) = pools
    assert (pool.phantoms, pool.given["num_envs"]) == (0, 8)
    assert pool.episodes.min() > 10


def test_what_was_handed_out_stays_as_it_is(make: Make) -> None:
    made = make()
    kept = [made.reset(seed=1)[0]]
    copies = [kept[0].copy()]
    for _ in range(12):
        observations, *_, info = made.step(actions(made, 0, 0, 0))
        arrays = [values for values in info.get("final_info", {}).values() if isinstance(values, np.ndarray)]
        found = [observations, *arrays, *(final for final in info.get("final_obs", ()) if final is not None)]
        kept += found
        copies += [each.copy() for each in found]
    assert all((one == other).all() for one, other in zip(kept, copies, strict=True))


def test_games_that_do_not_take_a_step_stand_still(make: Make, pools: list[FakePool]) -> None:
    made = make(3)
    first, _ = made.reset(seed=1)
    for _ in range(20):
        active = np.array([True, False, True])
        observations, rewards, terminations, truncations, info = made.step(actions(made, 1, 0, 1), active)
        assert rewards.tolist() == [1.0, 0.0, 1.0]
        assert (observations[1] == first[1]).all()
        assert not (terminations | truncations)[1]
        assert not any(mask[1] for key, mask in info.items() if key.startswith("_"))
    assert made.step(actions(made, 0, 0, 0), np.zeros(3, np.bool_))[1].tolist() == [0.0] * 3
    assert elapsed(made.step(actions(made, 0, 0, 0))[0])[1] == 1
    assert pools[0].phantoms == 0


def test_seeds_make_games_anew(make: Make, pools: list[FakePool]) -> None:
    made = make(2)
    first, _ = made.reset(seed=7)
    made.step(actions(made, 0, 0))
    assert (made.reset(seed=7)[0] == first).all()
    assert (told(made.reset()[0])[:, 2] == 2).all()  # the games' next episodes
    assert [pool.given["seed"] for pool in pools] == [[7, 8]] * 2
    made.reset(seed=[2**32 - 1, 2**31])
    assert pools[-1].given["seed"] == [-1, -(2**31)]
    unseeded = [make(2), make(2)]
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
        ProcgenGames("starpilot_hard", 2).reset(seed=seed)


@pytest.mark.parametrize(
    ("suite", "given", "message"),
    [
        ("ProcGen", [0, 1], r"actions must be 3 whole numbers, got shape \(2,\) of int64"),
        ("ProcGen", [0.0, 1.0, 2.0], r"actions must be 3 whole numbers, got shape \(3,\) of float64"),
        ("ProcGen", [0, 15, 1], r"actions must be from 0 to 14, got \[0, 15, 1\]; all games take these"),
        ("ProcGen", [0, -1, 1], r"actions must be from 0 to 14"),
        ("Atari", [0, 18, 1], r"actions must be from 0 to 17"),
        ("Meta-World", [0, 18, 1], r"actions must be numbers of shape \(3, 4\), got shape \(3,\) of int64; give a row"),
        ("Meta-World", [["a"] * 4] * 3, r"actions must be numbers of shape \(3, 4\), got shape \(3, 4\) of <U1"),
        ("Meta-World", [[0.0] * 4, [np.nan] * 4, [0.0, 0.0, np.inf, 0.0]], r"must be finite, .* for games \[1, 2\]"),
    ],
)
def test_actions_out_of_range(suite: str, given: list[Any], message: str) -> None:
    games, task, _ = SUITES[suite]
    made = games(task, 3)
    made.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        made.step(np.array(given))


def test_nothing_is_played_before_a_reset(make: Make) -> None:
    made = make(1)
    with pytest.raises(ResetNeeded, match=rf"{type(made).__name__}\.step was called before reset"):
        made.step(actions(made, 0))
    with pytest.raises(ResetNeeded, match=rf"{type(made).__name__}\.render was called before reset"):
        made.render()


def test_pictures_are_drawn_where_they_are_asked_for(make: Make) -> None:
    if not make().metadata["render_modes"]:
        with pytest.raises(ValueError, match=r"is not drawn, .* got render_mode='rgb_array'; leave it out$"):
            make(render_mode="rgb_array")
        return
    made = make(2, render_mode="rgb_array")
    made.reset(seed=0)
    made.step(actions(made, 0, 0))
    frames = made.render() or ()
    assert [(frame.dtype, frame.ndim, frame.shape[2], min(frame.shape[:2]) >= 320) for frame in frames] == [
        (np.uint8, 3, 3, True)
    ] * 2
    silent = make()
    silent.reset(seed=0)
    assert silent.render() is None


def test_they_cannot_be_saved_nor_changed(make: Make) -> None:
    made = make()
    assert not made.saves
    with pytest.raises(NotImplementedError, match=f"games of {made.suite} cannot be saved, since envpool keeps"):
        made.get_state()
    with pytest.raises(NotImplementedError, match=f"games of {made.suite} cannot be saved"):
        made.set_state({})
    with pytest.raises(ValueError, match=f"{type(made).__name__} has no argument that can be changed, got mode"):
        made.configure(mode=3)


def test_closing_lets_go_of_the_games(make: Make, pools: list[FakePool]) -> None:
    made = make()
    made.reset(seed=0)
    pool = weakref.ref(pools.pop())
    made.close()
    gc.collect()
    assert pool() is None


def test_they_are_shown_with_their_arguments() -> None:
    assert repr(ProcgenGames("starpilot_hard", 3)) == "ProcgenGames('starpilot_hard', 3, start_level=0, num_levels=0)"
    assert repr(DMCGames("dmc/dog-run", 3)) == "DMCGames('dmc/dog-run', 3, episode_limit=1000)"
