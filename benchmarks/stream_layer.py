"""What a stream costs on top of its games: per step, per switch, and in memory.

- Layer: a batch of one MinAtar game alone, and the same batch inside a stream that visits it again and again. Chunks of
  both sides alternate in one process, with the same actions.
- Switches: a stream of thousands of pixel-permuted Breakouts; what a switch takes beside the seeding and resetting of
  the games, which any new episode of all games takes, and the memory that the stream takes beside one game's.
- Fits: what observations and actions take per batch step of 64 games that are given the spaces of a stream, in the
  processor's time.

    python benchmarks/stream_layer.py            # about two minutes on two cores
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
import psutil
from gymnasium.spaces import Box, Discrete
from gymnasium.vector.utils import batch_space

import envs
from envs.catalogue import GAMES
from envs.fits import fit_games
from envs.fits.base import Plan
from envs.fits.observations import plan
from envs.fits.task_id import plan as plan_task
from envs.games import Games, Step
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


class Still(Games):
    """64 games that always give the same observations."""

    def __init__(self, space: Box) -> None:
        self.num_envs, self.metadata, self.render_mode = 64, {}, None
        self.single_observation_space, self.single_action_space = space, Discrete(3)
        self.observation_space, self.action_space = batch_space(space, 64), batch_space(Discrete(3), 64)
        self._observations = np.ones((64, *space.shape), space.dtype)

    def step(self, actions: object, active: object = None) -> Step:
        return self._observations, np.zeros(64), np.zeros(64, bool), np.zeros(64, bool), {}


def _box(*shape: int) -> Box:
    """A vector, a MinAtar board or an image."""
    if len(shape) == 1:
        return Box(-1, 1, shape, np.float32)
    return Box(0, 1, shape, np.bool_) if shape[0] == 10 else Box(0, 255, shape, np.uint8)


def _beside(how: str, own: Box, other: Box) -> Plan:
    found = plan([["other"], ["own"]], [other, own], how, None)
    return found._replace(specs=found.specs[1:])


FITS: dict[str, tuple[Box, Plan]] = {
    "pad 4 numbers to 6": (_box(4), _beside("pad", _box(4), _box(6))),
    "pad a board's 4 channels to 10": (_box(10, 10, 4), _beside("pad", _box(10, 10, 4), _box(10, 10, 10))),
    "resize 3 x 64 x 64 to 84 x 84": (_box(3, 64, 64), _beside("resize", _box(3, 64, 64), _box(3, 84, 84))),
    "tell one of 3 tasks by numbers": (_box(4), plan_task(_box(4), 3)),
    "tell one of 3 tasks by a board's planes": (_box(10, 10, 10), plan_task(_box(10, 10, 10), 3)),
    "tell one of 3 tasks by an image's planes": (_box(3, 64, 64), plan_task(_box(3, 64, 64), 3)),
    "play 5 actions by 3": (_box(4), Plan(Discrete(5), [("actions", {"actions": [0, 1, 2, 0, 0]})], "")),
}


def fits(repeats: int) -> dict[str, float]:
    """Microseconds of a batch step that each fit takes."""
    found: dict[str, float] = {}
    actions = np.zeros(64, np.int64)
    for name, (space, planned) in FITS.items():
        games = [Still(space), fit_games(Still(space), [planned.specs[0]])]  # type: ignore[list-item]
        taken: list[list[float]] = [[], []]
        for _ in range(repeats + 1):
            for env, times in zip(games, taken, strict=True):
                start = time.process_time()
                for _ in range(20):
                    env.step(actions)
                times.append((time.process_time() - start) / 20)
        found[name] = 1e6 * (median(taken[1][1:]) - median(taken[0][1:]))
    return found


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
    for name, micro in fits(args.repeats).items():
        print(f"{name}: {micro:,.0f} microseconds for 64 games")


if __name__ == "__main__":
    main()
