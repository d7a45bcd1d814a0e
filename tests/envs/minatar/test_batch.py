"""Batches of MinAtar games against the package, and against themselves."""

import copy
import json
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from minatar_oracle import SKILLS, Pair, settings

from agents.vec_env import VectorEnvAdapter
from envs.catalogue import GAMES
from envs.minatar import MinAtarEnv, MinAtarGames
from envs.minatar.picture import picture

Played = list[tuple[Any, ...]]


def _play(games: MinAtarGames, actions: np.ndarray) -> Played:
    """Everything seen while playing."""
    seen = []
    for chosen in actions:
        observations, rewards, terminations, truncations, info = games.step(chosen)
        ended = terminations | truncations
        last = info["final_obs"][ended].tobytes() if ended.any() else b""
        seen.append((observations.tobytes(), rewards.tolist(), terminations.tolist(), truncations.tolist(), last))
    return seen


def _actions(n_steps: int, n_envs: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(6, size=(n_steps, n_envs))


@pytest.mark.parametrize("game", GAMES)
def test_same_as_minatar(game: str) -> None:
    """More than 12,000 steps of each game; ``benchmarks/minatar_exact.py`` takes hundreds of thousands."""
    every = list(settings(game))
    n_steps = 12_000 // len(every) // len(SKILLS) + 1
    steps, episodes, top_ramp = 0, 0, 0
    for number, setting in enumerate(every):
        seen = Pair(MinAtarGames, game, SKILLS, seed=100 * number, **setting).play(n_steps)
        steps, episodes, top_ramp = steps + seen.steps, episodes + seen.episodes, max(top_ramp, seen.top_ramp)
    assert steps >= 12_000
    assert episodes > 100
    assert top_ramp >= {"asterix": 9, "seaquest": 19, "space_invaders": 6}.get(game, 0)


def test_of_two_equal_bullets_the_first_goes() -> None:
    """The bullet from behind hits the fish beside the one ahead, which goes in its stead, and meets the next fish."""

    def three_bullets(env: Any, _: np.random.Generator) -> None:
        env.sub_x, env.sub_y, env.surface, env.shot_timer = 5, 8, False, 5
        env.f_bullets = [[3, 1, True], [5, 1, False], [2, 1, True]]
        env.e_fish = [[3, 1, True, 5], [4, 1, True, 5]]

    pair = Pair(MinAtarGames, "seaquest", [0.0], seed=0, sticky_prob=0.0, start=three_bullets)
    assert pair.play(1).events["reward 2"] == 1
    state = pair.batch.get_state()["games"]
    assert state["n_bullets"] == 1
    assert state["bullets"][0, 0, :3].tolist() == [4, 1, -1]
    pair.play(3)


@pytest.mark.parametrize("game", GAMES)
def test_each_game_is_the_single_one(game: str) -> None:
    """Seeds, episode limit and flags, over the whole life of a batch."""
    n = 4
    games, singles = MinAtarGames(game, n, episode_limit=40), [MinAtarEnv(game, 40) for _ in range(n)]
    for start in (5, [70, 3, 2**32 - 1, 0], None):
        observations, info = games.reset(seed=start)
        assert info == {}
        seeds = [start + i for i in range(n)] if isinstance(start, int) else start or [None] * n
        firsts = [env.reset(seed=seed)[0] for env, seed in zip(singles, seeds, strict=True)]
        np.testing.assert_array_equal(observations, firsts)
        for actions in _actions(100, n):
            observations, rewards, terminations, truncations, info = games.step(actions)
            for i, env in enumerate(singles):
                observation, *expected, _ = env.step(actions[i])
                assert expected == [rewards[i], terminations[i], truncations[i]]
                if terminations[i] or truncations[i]:
                    np.testing.assert_array_equal(info["final_obs"][i], observation)
                    observation, _ = env.reset()
                np.testing.assert_array_equal(observations[i], observation)


def test_what_a_step_returns() -> None:
    games = MinAtarGames("breakout", 5)
    assert games.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert games.saves
    observations, _ = games.reset(seed=0)
    assert games.observation_space.contains(observations)
    assert games.single_observation_space == MinAtarEnv("breakout").observation_space
    assert games.single_action_space == MinAtarEnv("breakout").action_space
    n_ended = 0
    for actions in _actions(60, 5):
        observations, rewards, terminations, truncations, info = games.step(actions)
        assert games.action_space.contains(actions)
        assert (observations.shape, observations.dtype) == ((5, 10, 10, 10), np.bool_)
        assert (rewards.shape, rewards.dtype) == ((5,), np.float64)
        assert (terminations.dtype, truncations.dtype) == (np.bool_, np.bool_)
        if not terminations.any():
            assert info == {}
            continue
        n_ended += 1
        assert set(info) == {"final_obs", "_final_obs", "final_info", "_final_info"}
        assert (info["final_obs"].shape, info["final_obs"].dtype) == ((5, 10, 10, 10), np.bool_)
        assert info["final_info"] == {}
        np.testing.assert_array_equal(info["_final_obs"], terminations)
        np.testing.assert_array_equal(info["_final_info"], terminations)
    assert n_ended > 5


def test_later_steps_leave_arrays_alone() -> None:
    """Also where a part of the array is all that is kept."""
    games = MinAtarGames("breakout", 64)
    games.reset(seed=0)
    kept = []
    for actions in _actions(30, 64):
        observations, rewards, terminations, truncations, info = games.step(actions)
        arrays = [observations[3:5], rewards, terminations, truncations, *info.get("final_obs", ())[:7]]
        kept += [(array, array.copy()) for array in arrays]
    for array, kept_copy in kept:
        np.testing.assert_array_equal(array, kept_copy)


@pytest.mark.parametrize("game", GAMES)
def test_inactive_games_stand_still(game: str) -> None:
    rng = np.random.default_rng(0)
    games, singles = MinAtarGames(game, 6), [MinAtarEnv(game) for _ in range(6)]
    last = games.reset(seed=9)[0]
    for i, env in enumerate(singles):
        env.reset(seed=9 + i)
    for actions in _actions(80, 6):
        active = rng.random(6) < 0.5
        before = games.get_state()
        observations, rewards, terminations, truncations, info = games.step(actions, active)
        after = games.get_state()
        for part in ("games", "players"):
            for name in before[part]:
                np.testing.assert_array_equal(after[part][name][~active], before[part][name][~active])
        np.testing.assert_array_equal(observations[~active], last[~active])
        assert not rewards[~active].any()
        ended = terminations | truncations
        assert not ended[~active].any()
        assert not info.get("_final_obs", ended)[~active].any()
        for i in np.flatnonzero(active):
            observation, reward, terminated, _, _ = singles[i].step(actions[i])
            assert (reward, terminated) == (rewards[i], terminations[i])
            np.testing.assert_array_equal(singles[i].reset()[0] if terminated else observation, observations[i])
        last = observations


@pytest.mark.parametrize("game", GAMES)
def test_state_is_complete(game: str) -> None:
    """A state taken anywhere, of games that may never have been seeded, decides all that follows."""
    games = MinAtarGames(game, 7, episode_limit=90)
    games.reset()
    for round in range(3):
        _play(games, _actions(47, 7, round))
        games.configure(sticky_prob=0.2 * round)
        state = games.get_state()
        fresh = MinAtarGames(game, 7)
        fresh.set_state(state)
        actions = _actions(150, 7, 10 + round)
        expected = _play(games, actions)
        assert _play(fresh, actions) == expected
        games.set_state(state)  # the state did not change while the games went on from it
        assert _play(games, actions) == expected
        assert fresh.episode_limit == 90


def test_state_is_arrays_and_json() -> None:
    games = MinAtarGames("seaquest", 3)
    games.reset(seed=0)
    arrays = []

    def keep(value: object) -> str:
        assert isinstance(value, np.ndarray), value
        assert value.dtype.kind in "iu"
        assert len(value) == 3
        arrays.append(value)
        return "array"

    json.dumps(games.get_state(), default=keep)
    assert any(array.shape == (3, 624) for array in arrays)  # the generators'


def test_number_of_games_does_not_matter() -> None:
    actions = _actions(200, 5)
    together = MinAtarGames("asterix", 5)
    observations, _ = together.reset(seed=[8, 1, 8, 0, 5])
    for step in actions:
        observations, *_ = together.step(step)
    for i, seed in enumerate([8, 1, 8, 0, 5]):
        alone = MinAtarGames("asterix", 1)
        alone.reset(seed=seed)
        for step in actions:
            observation, *_ = alone.step(step[i : i + 1])
        np.testing.assert_array_equal(observation[0], observations[i])


def test_a_seed_alone_decides_and_clears_the_sticky_action() -> None:
    fresh, used = MinAtarGames("seaquest", 3), MinAtarGames("seaquest", 3, sticky_prob=0)
    used.reset(seed=4)
    for _ in range(300):  # over the ends of episodes
        used.step(np.full(3, 4))
    assert used.get_state()["players"]["last_action"].tolist() == [4, 4, 4]
    used.reset()
    assert used.get_state()["players"]["last_action"].tolist() == [4, 4, 4]
    used.configure(sticky_prob=0.1)
    used.reset(seed=[1, None, 3])
    assert used.get_state()["players"]["last_action"].tolist() == [0, 4, 0]
    used.reset(seed=1)
    fresh.reset(seed=1)
    assert _play(used, _actions(200, 3)) == _play(fresh, _actions(200, 3))


def test_games_that_were_never_seeded_differ() -> None:
    boards = []
    for _ in range(2):
        games = MinAtarGames("freeway", 4)
        observations, _ = games.reset()
        boards += [board.tobytes() for board in observations]
        observations, _ = games.reset()
        boards += [board.tobytes() for board in observations]
    assert len(set(boards)) == 16


def test_a_list_of_seeds_may_leave_games_unseeded() -> None:
    games = MinAtarGames("freeway", 3)
    observations, _ = games.reset(seed=[None, 7, None])
    np.testing.assert_array_equal(observations[1], MinAtarEnv("freeway").reset(seed=7)[0])
    assert (games.get_state()["players"]["key"] != 0).any(axis=1).all()


def test_configure() -> None:
    games = MinAtarGames("freeway", 2)
    games.reset(seed=0)
    games.configure(episode_limit=3)
    flags = [games.step(np.zeros(2, int))[2:4] for _ in range(4)]
    assert [truncated.tolist() for _, truncated in flags] == [[False] * 2, [False] * 2, [True] * 2, [False] * 2]
    assert not any(terminated.any() for terminated, _ in flags)
    games.configure(sticky_prob=1.0)
    games.reset(seed=0)
    games.step(np.full(2, 2))
    assert games.get_state()["players"]["last_action"].tolist() == [0, 0]
    games.configure(sticky_prob=0, ramping=False)
    games.step(np.full(2, 2))
    assert games.get_state()["players"]["last_action"].tolist() == [2, 2]
    with pytest.raises(ValueError, match=r"a MinAtar game cannot change 'stickyprob' .*; did you mean 'sticky_prob'"):
        games.configure(stickyprob=0.1)
    with pytest.raises(ValueError, match=r"sticky_prob must be a finite number from 0 to 1, got 1\.5"):
        games.configure(sticky_prob=1.5)


def test_the_longest_limit_is_counted() -> None:
    games = MinAtarGames("freeway", 2, episode_limit=2**31 - 1)
    games.reset(seed=0)
    state = games.get_state()
    state["players"]["elapsed"][:] = 2**31 - 3
    games.set_state(state)
    assert [games.step(np.zeros(2, int))[3].tolist() for _ in range(3)] == [[False] * 2, [True] * 2, [False] * 2]


def test_without_ramping_nothing_gets_faster() -> None:
    for ramping in (True, False):
        games = MinAtarGames("asterix", 32, ramping=ramping)
        games.reset(seed=0)
        top = 0
        for actions in _actions(300, 32):
            games.step(actions)
            top = max(top, int(games.get_state()["games"]["ramp_index"].max()))
        assert (top > 0) == ramping


def test_render() -> None:
    games = MinAtarGames("seaquest", 3, render_mode="rgb_array")
    observations, _ = games.reset(seed=0)
    for actions in _actions(50, 3):
        observations, *_ = games.step(actions)
        state = games.get_state()
        frames = games.render()
        assert frames is not None
        assert len(frames) == 3
        for frame, observation in zip(frames, observations, strict=True):
            np.testing.assert_array_equal(frame, picture(observation))
        np.testing.assert_array_equal(games.get_state()["players"]["position"], state["players"]["position"])
    silent = MinAtarGames("seaquest", 3)
    silent.reset()
    assert silent.render() is None


def test_behind_sb3s_interface() -> None:
    adapter, games = VectorEnvAdapter(MinAtarGames("breakout", 4)), MinAtarGames("breakout", 4)
    adapter.seed(3)
    adapter.reset()
    games.reset(seed=3)
    n_ended = 0
    for actions in _actions(40, 4):
        observations, _, dones, infos = adapter.step(actions)
        expected, _, terminations, _, info = games.step(actions)
        np.testing.assert_array_equal(observations, expected)
        np.testing.assert_array_equal(dones, terminations)
        for i in np.flatnonzero(dones):
            np.testing.assert_array_equal(infos[i]["terminal_observation"], info["final_obs"][i])
            n_ended += 1
    assert n_ended > 5


@pytest.mark.parametrize("began", [True, False])
def test_copies_play_on_by_themselves(began: bool) -> None:
    games = MinAtarGames("seaquest", 4, episode_limit=60, render_mode="rgb_array")
    if began:
        games.reset(seed=0)
        _play(games, _actions(50, 4))
    copies = [copy.deepcopy(games), pickle.loads(pickle.dumps(games))]
    for each in (games, *copies):
        if not began:
            each.reset(seed=3)
    expected = _play(games, _actions(100, 4, 1))
    for each in copies:
        assert _play(each, _actions(100, 4, 1)) == expected
        np.testing.assert_array_equal(each.render(), games.render())


def test_a_copy_in_another_process_finds_the_kernels_on_disk() -> None:
    games = MinAtarGames("breakout", 2)
    games.reset(seed=0)
    games.step(np.zeros(2, int))
    code = """
import pickle, sys
import numpy as np
games = pickle.load(sys.stdin.buffer)
games.step(np.zeros(2, int))
from envs.minatar import breakout
print(sum(breakout.step.stats.cache_hits.values()))
"""
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(games), capture_output=True, check=True)
    assert done.stdout.split() == [b"1"]


def test_kernels_are_kept_on_disk() -> None:
    games = MinAtarGames("breakout", 1)
    games.reset(seed=0)
    games.step(np.zeros(1, int))  # compiled by now, if not before
    code = """
import numpy as np
from envs.minatar import MinAtarGames, breakout
games = MinAtarGames("breakout", 2)
games.reset(seed=0)
games.step(np.zeros(2, int))
print([sum(kernel.stats.cache_hits.values()) for kernel in (breakout.reset, breakout.step)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[1, 1]"


def test_actions_may_be_any_whole_numbers() -> None:
    outcomes = []
    for kind in (np.int64, np.int8, np.uint8, np.uint64, list):
        games = MinAtarGames("freeway", 3, sticky_prob=0)
        games.reset(seed=0)
        for _ in range(5):
            games.step([2, 0, 4] if kind is list else np.array([2, 0, 4], kind))
        outcomes.append(games.get_state()["games"]["chicken_y"].tolist())
    assert outcomes == [[8, 9, 9]] * 5


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0, 6, 0], "actions must be from 0 to 5, got 6"),
        ([0, 0, -1], "actions must be from 0 to 5, got -1"),
        ([0, 0], r"actions must be 3 whole numbers, got shape \(2,\) of int64"),
        ([0.0, 0.0, 0.0], r"actions must be 3 whole numbers, got shape \(3,\) of float64"),
    ],
)
def test_refused_actions_change_nothing(actions: list[Any], message: str) -> None:
    games = MinAtarGames("breakout", 3)
    games.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        games.step(np.array(actions))
    assert games.get_state()["players"]["elapsed"].tolist() == [0, 0, 0]


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"game must be one of .*, got 'brekout'; did you mean 'breakout'"):
        MinAtarGames("brekout", 2)
    with pytest.raises(ValueError, match="n_envs must be a whole number of at least 1, got 0"):
        MinAtarGames("breakout", 0)
    with pytest.raises(ValueError, match="render_mode must be None or one of rgb_array, got 'human'"):
        MinAtarGames("breakout", 2, render_mode="human")
    games = MinAtarGames("breakout", 2)
    for begin in (lambda: games.step(np.zeros(2, int)), games.get_state):
        with pytest.raises(ResetNeeded, match="was called before reset"):
            begin()
    for seed in (2**32 - 1, [0, 2**32]):
        with pytest.raises(ValueError, match="seed must be at most 4294967295 for every game, got 4294967296"):
            games.reset(seed=seed)
    with pytest.raises(ValueError, match="seed must be a whole number of at least 0, got -1"):
        games.reset(seed=-1)
    with pytest.raises(ValueError, match="seed must be one number or 2, got 3"):
        games.reset(seed=[1, 2, 3])
    games.reset(seed=0)
    with pytest.raises(ValueError, match=r"active must have shape \(2,\), got \(3,\)"):
        games.step(np.zeros(2, int), np.ones(3, bool))
    state = games.get_state()
    for other in (MinAtarGames("breakout", 3), MinAtarGames("asterix", 2)):
        with pytest.raises(ValueError, match=r"a state of 2 games of 'breakout' cannot be set on \d of '"):
            other.set_state(state)
