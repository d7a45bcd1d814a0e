"""What a stream costs on top of its games: per step, per switch, and in memory.

- Layer: a batch of one MinAtar game alone, and the same batch inside a stream that visits it again and again. Chunks of
  both sides alternate in one process, with the same actions.
- Switches: a stream of thousands of pixel-permuted Breakouts; what a switch takes beside the seeding and resetting of
  the games, which any new episode of all games takes, and the memory that the stream takes beside one game's.

    python benchmarks/stream_layer.py            # about two minutes on two cores
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
import psutil

import envs
from envs.catalogue import GAMES
from envs.minatar import make_games

STEPS_PER_TASK = 500_000  # the default of the MinAtar streams


def layer(game: str, n_envs: int, chunk: int, repeats: int) -> tuple[float, float]:
    """Steps per second of the batch alone, and inside a stream."""
    bare = make_games(game, n_envs)
    stream = envs.make(game, n_envs=n_envs, steps_per_task=STEPS_PER_TASK, cycles=10**5)
    actions = np.random.default_rng(0).integers(6, size=(chunk, n_envs))
    sides = {"bare": bare, "stream": stream}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for env in sides.values():
        env.reset(seed=0)
    for repeat in range(repeats + 1):
        for name, env in sides.items():
            start = time.perf_counter()
            for row in actions:
                env.step(row)
            if repeat:  # the first round compiles
                rates[name].append(chunk * n_envs / (time.perf_counter() - start))
    return median(rates["bare"]), median(rates["stream"])


def switches(n_tasks: int, n_envs: int, repeats: int) -> dict[str, float]:
    """Microseconds of a switch and of what it consists of, and megabytes."""
    one = envs.make("breakout", n_envs=n_envs, seed=0)
    one.reset()
    one.step(np.zeros(n_envs, np.int64))
    process = psutil.Process()
    before, start = process.memory_info().rss, time.perf_counter()
    entry = {"id": "breakout", "shifts": ["pixel_permutation"], "variants": n_tasks}
    stream = envs.make(entry, n_envs=n_envs, steps_per_task=n_envs, seed=0)
    stream.reset()
    built = time.perf_counter() - start
    actions = np.zeros(n_envs, np.int64)
    stepping, switching, beginning = [], [], []
    for _ in range(repeats):
        start = time.perf_counter()
        stream.step(actions)  # every step switches
        switching.append(time.perf_counter() - start)
        start = time.perf_counter()
        one.step(actions)
        stepping.append(time.perf_counter() - start)
        seeds = [int(seed) for seed in np.random.SeedSequence((0, 1)).generate_state(n_envs)]
        start = time.perf_counter()
        one.games.reset(seed=seeds)
        beginning.append(time.perf_counter() - start)
    assert stream.segment.index == repeats
    micro = {name: 1e6 * median(found) for name, found in (("step", stepping), ("begin", beginning))}
    switch = 1e6 * median(switching) - micro["step"]
    return {
        "switch": switch,
        "begin": micro["begin"],
        "layer": switch - micro["begin"],
        "build": built,
        "megabytes": (process.memory_info().rss - before) / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=list(GAMES), choices=GAMES)
    parser.add_argument("--n-envs", type=int, default=1024)
    parser.add_argument("--chunk", type=int, default=400, help="batch steps of one side before the other's turn")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--tasks", type=int, default=5000)
    args = parser.parse_args()
    for game in args.games:
        bare, stream = layer(game, args.n_envs, args.chunk, args.repeats)
        print(
            f"{game}: {bare:,.0f} steps/s alone, {stream:,.0f} in a stream that switches every "
            f"{STEPS_PER_TASK:,} steps: {bare / stream - 1:.1%} on top (required: at most 10%)",
            flush=True,
        )
    for n_envs in (1, 64):
        found = switches(args.tasks, n_envs, min(args.tasks - 1, 2000))
        print(
            f"{args.tasks:,} permuted Breakouts, {n_envs} games: a switch takes {found['switch']:.0f} microseconds, of "
            f"which {found['begin']:.0f} seed and reset the games; built in {found['build']:.2f} s, "
            f"{found['megabytes']:.1f} MB more than one Breakout"
        )


if __name__ == "__main__":
    main()
