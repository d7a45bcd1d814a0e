"""Atari's arguments, lives, clipped rewards and pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fake_pool import FakePool, install

import envs
from agents import StreamMonitor, VectorEnvAdapter
from envs.catalogue import ATARI
from envs.pool.atari import AtariGames


@pytest.fixture(autouse=True)
def pools(monkeypatch: pytest.MonkeyPatch) -> list[FakePool]:
    return install(monkeypatch)


def test_by_default_games_are_those_of_the_dqn_papers_with_all_actions(pools: list[FakePool]) -> None:
    made = AtariGames("atari/space_invaders", 2)
    made.reset(seed=0)
    assert (made.single_observation_space.shape, made.single_action_space.n) == ((4, 84, 84), 18)  # type: ignore[attr-defined]
    not_ours = ("env_type", "num_envs", "num_threads", "seed")
    assert pools[0].id == "SpaceInvaders-v5"
    assert {key: value for key, value in pools[0].given.items() if key not in not_ours} == {
        "mode": -1, "difficulty": -1, "full_action_space": True, "stack_num": 4, "frame_skip": 4, "noop_max": 30,
        "repeat_action_probability": 0.0, "use_fire_reset": True, "episodic_life": False, "reward_clip": False,
        "max_episode_steps": 27_000,
    }  # fmt: skip


def test_arguments_are_envpools(pools: list[FakePool]) -> None:
    made = AtariGames(
        "atari/tic_tac_toe_3d", 2, mode=3, difficulty=1, full_action_space=False, frame_stack=1, noop_max=1,
        fire_reset=False, episode_limit=10,
    )  # fmt: skip
    made.reset(seed=0)
    given = pools[-1].given
    assert pools[-1].id == "TicTacToe3d-v5"
    assert [given[key] for key in ("mode", "difficulty", "stack_num", "noop_max", "max_episode_steps")] == [
        3, 1, 1, 1, 10,
    ]  # fmt: skip
    assert not given["use_fire_reset"]
    assert (made.single_observation_space.shape, made.single_action_space.n) == ((1, 84, 84), 6)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": -1}, "mode must be a whole number from 0 to 2147483647, got -1; give one of the game's modes"),
        (
            {"mode": 16},
            r"atari/pong cannot be played with mode=16 and difficulty=None \(Invalid game mode requested\); give those",
        ),
        ({"frame_skip": 0}, "frame_skip must be a whole number from 1 to 64, got 0; give the frames that an action"),
        ({"frame_stack": 10**9}, "frame_stack must be a whole number from 1 to 64, got 1000000000; give the frames of"),
        ({"noop_max": 0}, "noop_max must be a whole number from 1 to 2147483647, got 0; give the most frames"),
        ({"repeat_action_probability": 1.5}, "repeat_action_probability must be a finite number from 0 to 1, got 1.5"),
        ({"reward_clip": 1}, "reward_clip must be true or false, got 1; give one of them"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        AtariGames("atari/pong", 2, **arguments)


def test_unknown_games() -> None:
    assert len(ATARI) == 104
    with pytest.raises(
        ValueError, match=r"^an Atari task must be one of .*, got 'atari/pongg'; did you mean 'atari/po"
    ):
        AtariGames("atari/pongg", 2)
    for id in ("SpaceInvaders-v5", "ALE/SpaceInvaders-v5", "SpaceInvadersNoFrameskip-v4"):
        with pytest.raises(ValueError, match=f"^unknown task '{id}'; did you mean 'atari/space_invaders'"):
            envs.make(id)


def test_a_life_is_an_episode_and_a_game_a_return(pools: list[FakePool]) -> None:
    """Fake games have two lives, but where they are truncated; rewards are the actions: 2, clipped to 1."""
    entry = {"id": "atari/pong", "episodic_life": True, "reward_clip": True}
    stream = envs.make([entry], n_envs=4, steps_per_task=10**6, seed=0)
    monitor = StreamMonitor(VectorEnvAdapter(stream))
    monitor.reset()
    lives, lengths, games = np.zeros(4), np.zeros(4), 0
    for _ in range(60):
        _, rewards, dones, infos = monitor.step(np.full(4, 2))
        assert (rewards == 1).all()
        lengths += 1
        for game in np.flatnonzero(dones).tolist():
            lives[game] += 1
            over = lives[game] % 2 == 0 or infos[game]["TimeLimit.truncated"]
            assert bool(infos[game].get("life_lost")) is not bool(over)
            assert ("episode" in infos[game]) is bool(over)
            if over:
                games += 1
                assert (infos[game]["episode"]["r"], infos[game]["episode"]["l"]) == (2 * lengths[game], lengths[game])
                lives[game] = lengths[game] = 0
    assert games > 20
    assert sum(pool.phantoms for pool in pools) > 10  # which begin the second lives


def test_a_life_that_is_lost_at_a_switch_is_no_game(pools: list[FakePool]) -> None:
    entry = {"id": "atari/pong", "episodic_life": True}
    stream = envs.make([entry, {**entry, "mode": 1}], n_envs=8, steps_per_task=16, cycles=20, seed=0)
    monitor = StreamMonitor(VectorEnvAdapter(stream))
    monitor.reset()
    found = set()
    for step in range(78):
        *_, infos = monitor.step(np.ones(8, np.int64))
        if step % 2:  # a switch
            assert all(info["task_switched"] for info in infos)
            assert (monitor.episode_lengths == 0).all()
            assert (monitor.episode_returns == 0).all()
            found |= {(bool(info.get("life_lost")), bool(info.get("cut_by_switch"))) for info in infos}
            assert not any("episode" in info for info in infos if info.get("life_lost"))
    assert found == {(True, False), (False, True), (False, False)} or found == {(True, False), (False, True)}


def test_scaled_rewards_come_to_the_return_of_the_game(pools: list[FakePool]) -> None:
    entry = {"id": "atari/pong", "episodic_life": True, "shifts": [{"name": "reward_scale", "scale": 0.5}]}
    stream = envs.make([entry], n_envs=4, steps_per_task=10**6, seed=0)
    stream.reset()
    lengths = np.zeros(4)
    for _ in range(40):
        *_, terminations, truncations, info = stream.step(np.full(4, 2))
        lengths += 1
        ended = terminations | truncations
        for game in np.flatnonzero(ended).tolist():
            said = info["final_info"]
            if "life_lost" in said and said["_life_lost"][game]:
                assert not said["_unscaled_return"][game]
            else:
                assert said["unscaled_return"][game] == 2 * lengths[game]
                lengths[game] = 0


def test_pictures_are_the_newest_frames() -> None:
    made = AtariGames("atari/pong", 2, frame_stack=1, render_mode="rgb_array")
    made.reset(seed=0)
    made.step(np.zeros(2, np.int64))
    first, _ = made.render() or ()
    assert (first.shape, first.dtype) == ((336, 336, 3), np.uint8)
    assert first[:4, 12:16].tolist() == [[[1] * 3] * 4] * 4  # steps
