"""Steps per second of batched MinAtar against the ``minatar`` package, with observations of ten channels on both sides.

Actions are drawn beforehand. Both sides play in one process on one thread, a chunk each in turn, so that both meet the
same weather; rates are those of the median chunk. The package's games are played one after the other, which makes its
rate the same for any number of them. The last columns are the seconds that a process takes to import, make and step a
first batch: on a machine that has never done so, which compiles it, and with the kernels on disk.

    python benchmarks/minatar_speed.py               # about a minute
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from envs.catalogue import GAMES

CHUNK = (300_000, 4_000)  # steps of the batch and of the package
REQUIRED = 3e6  # steps per second, with 1,024 games
FIRST_BATCH = """
import sys, time
start = time.perf_counter()
import numpy as np
from envs.minatar import MinAtarGames
games = MinAtarGames(sys.argv[1], 64)
games.reset(seed=0)
games.step(np.zeros(64, np.int64))
print(time.perf_counter() - start)
"""


class Batch:
    """Our games."""

    def __init__(self, game: str, n: int) -> None:
        from envs.minatar import MinAtarGames

        self.games = MinAtarGames(game, n)
        self.observations, _ = self.games.reset(seed=0)

    def play(self, actions: Any) -> None:
        for chosen in actions:
            self.observations, *_ = self.games.step(chosen)


class Package:
    """The package's."""

    def __init__(self, game: str, n: int) -> None:
        import minatar

        self.games = [minatar.Environment(game) for _ in range(n)]
        self.n_channels = self.games[0].n_channels
        for i, env in enumerate(self.games):
            env.seed(i)
            env.reset()

    def play(self, actions: Any) -> None:
        n = self.n_channels
        for chosen in actions.tolist():
            observations = np.zeros((len(self.games), 10, 10, 10), np.bool_)
            for i, (env, action) in enumerate(zip(self.games, chosen, strict=True)):
                _, ended = env.act(action)
                if ended:
                    env.reset()
                observations[i, :, :, :n] = env.state()


def rates(game: str, n: int, chunks: int) -> tuple[float, float]:
    """Steps per second of the batch and of the package."""
    rng = np.random.default_rng(0)
    widths = (n, min(n, 64))
    sides = (Batch(game, widths[0]), Package(game, widths[1]))
    work = [rng.integers(6, size=(-(-steps // width), width)) for steps, width in zip(CHUNK, widths, strict=True)]
    seconds: tuple[list[float], list[float]] = ([], [])
    for chunk in range(chunks + 1):
        for side, actions, spent in zip(sides, work, seconds, strict=True):
            start = time.perf_counter()
            side.play(actions)
            if chunk:  # the first one compiles, and spreads the games over their episodes
                spent.append(time.perf_counter() - start)
    ours, theirs = (actions.size / median(spent) for actions, spent in zip(work, seconds, strict=True))
    return ours, theirs


def first_batch(game: str) -> tuple[float, float]:
    """Seconds of a first batch in a process, when it has to be compiled and when it lies on disk."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", FIRST_BATCH, game]
        environment = os.environ | {"NUMBA_CACHE_DIR": folder, "PYTHONPATH": sys.path[0]}
        runs = [subprocess.run(command, env=environment, capture_output=True, check=True) for _ in range(2)]
    return float(runs[0].stdout), float(runs[1].stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=list(GAMES), choices=GAMES)
    parser.add_argument("--n-envs", nargs="+", type=int, default=[1024, 64])
    parser.add_argument("--chunks", type=int, default=15)
    args = parser.parse_args()
    print("| game | games at once | batch, steps/s | package, steps/s | ratio | compiling, s | from disk, s |")
    print("|---|---|---|---|---|---|---|")
    for game in args.games:
        compiling, from_disk = first_batch(game)
        for n in args.n_envs:
            ours, theirs = rates(game, n, args.chunks)
            short = " (required: 3,000,000)" if n >= 1024 and ours < REQUIRED else ""
            print(
                f"| {game} | {n:,} | {ours:,.0f}{short} | {theirs:,.0f} | {ours / theirs:,.0f} | {compiling:.1f} | "
                f"{from_disk:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
