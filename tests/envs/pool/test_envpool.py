"""The suites as envpool plays them, where that is installed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import psutil
import pytest

import envs
from envs.catalogue import PROCGEN
from envs.pool.atari import AtariGames
from envs.pool.dmc import DMCGames
from envs.pool.games import PoolGames
from envs.pool.metaworld import MetaWorldGames
from envs.pool.procgen import ProcgenGames

pytest.importorskip("envpool")


def played(games: PoolGames, steps: int, seed: int = 3) -> list[Any]:
    """What the games gave at each step."""
    games.action_space.seed(0)
    trace: list[Any] = [games.reset(seed=seed)[0]]
    for _ in range(steps):
        *step, info = games.step(games.action_space.sample())
        trace += [*step, *(final for final in info.get("final_obs", ()) if final is not None)]
        trace += info.get("final_info", {}).values()
    return trace


def test_all_games_of_procgen_make_and_step() -> None:
    for task in PROCGEN:
        games = ProcgenGames(task, 2, start_level=20, num_levels=1)
        first, _ = games.reset(seed=0)
        observations, *_ = games.step(np.array([7, 1]))
        assert first.shape == observations.shape == (2, 3, 64, 64)
        assert first.any()
        assert (first[0] == first[1]).all()  # one level is one beginning
        games.close()


MADE: list[tuple[type[Any], str, dict[str, Any]]] = [
    (ProcgenGames, "starpilot_hard", {}),
    (AtariGames, "atari/breakout", {"reward_clip": True, "episode_limit": 30}),
    (DMCGames, "dmc/walker-run", {"episode_limit": 30}),
    (MetaWorldGames, "metaworld/push", {"episode_limit": 30}),
]


@pytest.mark.parametrize(("games", "task", "arguments"), MADE)
def test_no_transition_is_envpools_reset(games: type[Any], task: str, arguments: dict[str, Any]) -> None:
    made = games(task, 2, **arguments)
    made.reset(seed=1)
    inner, counted = made._pool, {"steps": 0, "phantoms": 0}

    class Counted:
        reset = inner.reset

        def step(self, *given: Any) -> Any:
            answer = inner.step(*given)
            counted["steps"] += len(answer[4]["elapsed_step"])
            counted["phantoms"] += int((answer[4]["elapsed_step"] == 0).sum())
            return answer

    made._pool = Counted()
    made.action_space.seed(0)
    ended = 0
    for _ in range(100):
        observations, *_, terminations, truncations, info = made.step(made.action_space.sample())
        ended += int((terminations | truncations).sum())
        assert observations in made.observation_space
        if info.get("final_obs") is not None:
            assert all(last in made.single_observation_space for last in info["final_obs"] if last is not None)
    assert counted == {"steps": 200, "phantoms": 0}
    assert ended > 1


@pytest.mark.parametrize(("games", "task", "arguments"), MADE)
def test_equal_seeds_are_followed_by_equal_games_whatever_the_threads(
    games: type[Any], task: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    traces = []
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        made = games(task, 2, **arguments)
        played(made, 5, seed=9)
        traces.append(played(made, 40))
    assert len({len(trace) for trace in traces}) == 1
    for one, *others in zip(*traces, strict=True):
        assert all((one == other).all() for other in others)
    other = played(games(task, 2, **arguments), 1, seed=4)
    assert any((one != another).any() for one, another in zip(other, traces[0], strict=False))


def test_limits_truncate() -> None:
    games = ProcgenGames("leaper_easy", 1, start_level=3, num_levels=1)
    games.reset(seed=0)
    flags = [games.step(np.array([4]))[2:4] for _ in range(500)]  # 4 does nothing
    assert not any(terminated or truncated for terminated, truncated in flags[:-1])
    assert [flag.tolist() for flag in flags[-1]] == [[False], [True]]


def test_what_envpool_has_no_such_mode_for_is_refused() -> None:
    AtariGames("atari/space_invaders", 1, mode=15)
    with pytest.raises(ValueError, match=r"^atari/space_invaders cannot be played with mode=16 and difficulty=None \("):
        AtariGames("atari/space_invaders", 1, mode=16)
    with pytest.raises(ValueError, match=r"^atari/freeway cannot be played with mode=None and difficulty=9 \("):
        AtariGames("atari/freeway", 1, difficulty=9)


def test_a_life_that_is_lost_is_no_end_of_the_game() -> None:
    games = AtariGames("atari/breakout", 1, episodic_life=True, full_action_space=False)
    games.reset(seed=0)
    lives = []
    for _ in range(260):
        *_, terminations, truncations, info = games.step(np.ones(1, np.int64))
        if (terminations | truncations)[0]:
            lives.append("life_lost" in info["final_info"])
    assert lives[:10] == ([True] * 4 + [False]) * 2  # five lives


def test_meta_world_draws_objects_and_shows_the_goal() -> None:
    games = MetaWorldGames("metaworld/push", 1)
    first, second = games.reset(seed=0)[0], games.reset()[0]
    assert (first[0, 36:] != second[0, 36:]).any()  # the goal
    assert (first[0, 4:7] != second[0, 4:7]).any()  # the puck
    hidden = MetaWorldGames("metaworld/push", 1, partially_observable=True)
    assert not hidden.reset(seed=0)[0][0, 36:].any()


def test_what_is_left_out_of_deepmind_control_is_not_the_tasks() -> None:
    sizes = {"quadruped-walk": 78, "quadruped-fetch": 90, "dog-stand": 223, "finger-spin": 9, "fish-upright": 21}
    for task, size in sizes.items():
        assert DMCGames(f"dmc/{task}", 1).single_observation_space.shape == (size,)


def test_a_hundred_switches_leave_nothing_behind() -> None:
    tasks = [{"id": "starpilot_hard", "start_level": level, "num_levels": 1} for level in (20, 21)]
    env = envs.make(tasks, n_envs=4, steps_per_task=8, cycles=60, seed=0)
    env.reset()
    process = psutil.Process()
    sizes, threads = [], []
    for step in range(220):  # a switch every two steps
        env.step(np.full(4, step % 15))
        if step >= 20:
            sizes.append(process.memory_info().rss)
            threads.append(process.num_threads())
    assert env.segment.index == 110
    assert all(after <= before for before, after in pairwise(threads))  # those of tests before may end meanwhile
    assert sizes[-1] - sizes[0] < 2**22
    env.close()
    assert process.num_threads() < threads[0]  # those of envpool end with its games
