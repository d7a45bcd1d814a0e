"""ProcGen as envpool plays it, where that is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import psutil
import pytest

import envs
from envs.catalogue import PROCGEN
from envs.procgen import ProcgenWorld
from envs.procgen.batch import ProcgenGames

pytest.importorskip("envpool")


def played(games: ProcgenGames, steps: int, seed: int = 3) -> list[Any]:
    """What the games gave at each step."""
    draw = np.random.default_rng(0)
    trace: list[Any] = [games.reset(seed=seed)[0]]
    for _ in range(steps):
        *step, info = games.step(draw.integers(0, 15, games.num_envs))
        trace += [*step, *(final for final in info.get("final_obs", ()) if final is not None)]
    return trace


def test_all_games_make_and_step() -> None:
    for task in PROCGEN:
        games = ProcgenWorld(task).make_games(2, start_level=20, num_levels=1)
        first, _ = games.reset(seed=0)
        observations, *_ = games.step(np.array([7, 1]))
        assert first.shape == observations.shape == (2, 3, 64, 64)
        assert first.any()
        assert (first[0] == first[1]).all()  # one level is one beginning
        games.close()


def test_no_transition_is_envpools_reset() -> None:
    games = ProcgenGames("starpilot_hard", 8)
    games.reset(seed=1)
    inner, steps, phantoms = games._pool, 0, 0

    class Counted:
        reset = inner.reset

        def step(self, *given: Any) -> Any:
            nonlocal steps, phantoms
            answer = inner.step(*given)
            steps += len(answer[4]["elapsed_step"])
            phantoms += int((answer[4]["elapsed_step"] == 0).sum())
            return answer

    games._pool = Counted()
    ended = 0
    for step in range(150):
        *_, terminations, truncations, _ = games.step(np.full(8, step % 15))
        ended += int((terminations | truncations).sum())
    assert (steps, phantoms) == (1200, 0)
    assert ended > 8


def test_equal_seeds_are_followed_by_equal_games_whatever_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = []
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        traces.append(played(ProcgenGames("coinrun_hard", 4), 120))
    games = ProcgenGames("coinrun_hard", 4)
    played(games, 5, seed=9)
    traces.append(played(games, 120))
    assert len({len(trace) for trace in traces}) == 1
    for one, *others in zip(*traces, strict=True):
        assert all((one == other).all() for other in others)
    other = played(ProcgenGames("coinrun_hard", 4), 1, seed=4)
    assert (other[0] != traces[0][0]).any()


def test_limits_truncate() -> None:
    games = ProcgenGames("leaper_easy", 1, start_level=3, num_levels=1)
    games.reset(seed=0)
    flags = [games.step(np.array([4]))[2:4] for _ in range(500)]  # 4 does nothing
    assert not any(terminated or truncated for terminated, truncated in flags[:-1])
    assert [flag.tolist() for flag in flags[-1]] == [[False], [True]]


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
    assert max(threads) == min(threads)
    assert sizes[-1] - sizes[0] < 2**22
    env.close()
    assert process.num_threads() < threads[0]  # those of envpool end with its games
