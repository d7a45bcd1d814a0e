"""What a million transitions of MinAtar weigh in a replay buffer, and how long samples take: ours against SB3's.

Each side is a process of its own that fills DQN's buffer with transitions of Breakout and then draws minibatches; what
is told is how much its resident memory has grown by, and the median time of a draw of 32, to tensors.

    OMP_NUM_THREADS=1 python benchmarks/replay_memory.py                       # a million, two minutes
    OMP_NUM_THREADS=1 python benchmarks/replay_memory.py --transitions 100_000
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import stable_baselines3

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import agents
import envs

GAMES = 16
SIDES = {"sb3": stable_baselines3.DQN, "ours": agents.DQN}
LIMIT = 300  # MB for a million


def measure(side: str, transitions: int) -> None:
    """Fill a buffer, and print MB and microseconds."""
    games = envs.make("breakout", n_envs=GAMES, seed=0)
    env = agents.VectorEnvAdapter(games)
    buffer = SIDES[side]("MlpPolicy", env, buffer_size=transitions, device="cpu").replay_buffer
    draw, observations = np.random.default_rng(0), env.reset()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(transitions // GAMES):
        actions = draw.integers(6, size=GAMES)
        following, rewards, dones, infos = env.step(actions)
        buffer.add(observations, following, actions, rewards, dones, infos)
        observations = following
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000  # kB on Linux
    times = []
    for _ in range(2000):
        started = time.perf_counter()
        buffer.sample(32)
        times.append(time.perf_counter() - started)
    print(f"{grown:.0f} {median(times) * 1e6:.0f}")


def main() -> None:
    """Read the arguments and measure both sides."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--transitions", type=int, default=1_000_000)
    parser.add_argument("--side", choices=SIDES, help="measure this one here")
    given = parser.parse_args()
    if given.side:
        measure(given.side, given.transitions)
        return
    found = {}
    for side in SIDES:
        words = [sys.executable, __file__, "--transitions", str(given.transitions), "--side", side]
        found[side] = [float(number) for number in subprocess.check_output(words, text=True).split()]
        print(f"{side}: {found[side][0]:,.0f} MB for {given.transitions:,} transitions, {found[side][1]:.0f} us a draw")
    print(f"memory: {found['ours'][0] / found['sb3'][0]:.3f} of SB3's (at most {LIMIT} MB for a million)")
    print(f"a draw: {found['ours'][1] / found['sb3'][1]:.2f} of SB3's time")


if __name__ == "__main__":
    main()
