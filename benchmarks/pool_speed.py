"""Envpool through crl's adapter against bare envpool: real transitions per second of both, and of a stream around it.

Envpool resets a finished game in its next step, which plays nothing and does not count; the adapter resets it at once.
All sides play games of the same seeds in one process, a chunk of drawn actions each in turn, so that they meet the same
weather; rates are those of the median chunk. The second ratio is that of the median processor time, which a busy
machine disturbs less.

    python benchmarks/pool_speed.py                       # ProcGen, Atari and DeepMind Control, 64 and 16 games
    python benchmarks/pool_speed.py --tasks coinrun_easy --games 64 --chunks 40 --threads 2
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import envs
from envs.catalogue import TASKS
from envs.pool.games import PoolGames

TARGET = 0.95
Play = Callable[[Any], int]
"""Takes the actions of a batch's step; returns how many games have played."""


def bare(made: PoolGames) -> Play:
    """Envpool itself, as it is made for a batch of the adapter."""
    pool = made._made([*range(made.num_envs)])
    pool.reset()
    held = []

    def step(actions: Any) -> int:
        # A learner has the observations of a step while it takes the next.
        held[:] = pool.step(actions.astype(made._taken))
        return int((held[4]["elapsed_step"] > 0).sum())

    return step


def ours(made: Any) -> Play:
    """Games of the adapter, or a stream of them."""
    made.reset(seed=0)

    def step(actions: Any) -> int:
        made.step(actions)
        return len(actions)

    return step


def measure(task: str, games: int, chunks: int, steps: int) -> None:
    """Print rates and ratios of a task for so many games, in chunks of so many steps."""
    made = TASKS[task].resolve().make_games(games)
    sides = {"envpool": bare(made), "adapter": ours(made), "stream": ours(envs.make(task, n_envs=games))}
    made.action_space.seed(0)
    rates: dict[str, list[float]] = {side: [] for side in sides}
    by_processor: dict[str, list[float]] = {side: [] for side in sides}
    for chunk in range(chunks + 1):
        actions = np.stack([made.action_space.sample() for _ in range(steps // games)])
        for side, step in sides.items():
            started, used = time.perf_counter(), time.process_time()
            played = sum(step(row) for row in actions)
            if chunk:  # the first warms up
                rates[side].append(played / (time.perf_counter() - started))
                by_processor[side].append(played / (time.process_time() - used))
    told = ", ".join(f"{side} {median(found):,.0f}" for side, found in rates.items())
    print(f"{task}, {games} games, {os.environ['OMP_NUM_THREADS']} threads, real transitions/s: {told}")
    for side in ("adapter", "stream"):
        wall, processor = (median(found[side]) / median(found["envpool"]) for found in (rates, by_processor))
        target = f", target {TARGET}" if (side, games) == ("adapter", 64) else ""
        print(f"  {side} / envpool: {wall:.3f} (by processor time {processor:.3f}){target}")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["starpilot_hard", "atari/pong", "dmc/walker-walk"])
    parser.add_argument("--games", type=int, nargs="+", default=[64, 16])
    parser.add_argument("--chunks", type=int, default=20)
    parser.add_argument("--steps", type=int, default=6_400, help="of a chunk, over all games")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    for task in given.tasks:
        for games in given.games:
            measure(task, games, given.chunks, given.steps)


if __name__ == "__main__":
    main()
