"""What prioritised replay costs: processor time of its draws and of its sum tree, beside DQN's update.

DQN with MinAtar's network has a full buffer of Breakout's boards, with priorities all over. Of each batch size it takes
updates, samples by priority and uniform ones, and renewals of priorities in turn; medians are of these turns.

    OMP_NUM_THREADS=1 python benchmarks/prioritized_cost.py                    # a million transitions, a minute
    OMP_NUM_THREADS=1 python benchmarks/prioritized_cost.py --transitions 10_000
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from stable_baselines3.common.logger import Logger

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import agents
import envs

BATCHES = (32, 64, 128, 256)
LIMIT = 0.05  # of an update
TURNS, EACH = 15, 20


def filled(transitions: int) -> agents.DQN:
    """A learner with a full buffer of boards at random, a tenth of whose pixels are set."""
    model = agents.DQN(
        "CnnPolicy", envs.make("breakout", n_envs=16), buffer_size=transitions, replay="prioritized", seed=0,
        device="cpu",
    )  # fmt: skip
    model.set_logger(Logger(None, []))
    buffer, random = model.replay_buffer, np.random.default_rng(0)
    some = random.random((1000, *buffer.obs_shape)) < 0.1
    for _ in range(buffer.buffer_size):
        chosen, rewards, dones = random.integers(len(some), size=(2, 16)), random.random(16) < 0.1, np.zeros(16)
        buffer.add(some[chosen[0]], some[chosen[1]], random.integers(6, size=16), rewards, dones, [{}] * 16)
    buffer.update_priorities(np.arange(transitions // 16 * 16), random.exponential(size=transitions // 16 * 16))
    return model


def microseconds(do: Callable[[], object]) -> float:
    """Processor time of one call."""
    started = time.process_time()
    for _ in range(EACH):
        do()
    return (time.process_time() - started) / EACH * 1e6


def main() -> None:
    """Read the arguments and measure every batch size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--transitions", type=int, default=1_000_000)
    model = filled(parser.parse_args().transitions)
    buffer = model.replay_buffer
    print(f"draws and renewals are to take less than {LIMIT:.0%} of an update")
    print("| batch | update, ms | draw by priority, us | uniform, us | renewal, us | draw and renewal |")
    print("|---|---|---|---|---|---|")
    for batch in BATCHES:
        errors, indices = np.random.random(batch).astype(np.float32), buffer.sample(batch).indices
        parts = (
            lambda batch=batch: model.train(1, batch),
            lambda batch=batch: buffer.sample(batch),
            lambda batch=batch: buffer.sample_uniformly(batch),
            lambda: buffer.update_priorities(indices, errors),  # noqa: B023  # called within this turn
        )
        found = zip(*([microseconds(part) for part in parts] for _ in range(TURNS)), strict=True)
        update, drawn, uniform, renewed = map(median, found)
        share = (drawn + renewed) / update
        print(f"| {batch} | {update / 1000:.2f} | {drawn:.0f} | {uniform:.0f} | {renewed:.0f} | {share:.1%} |")


if __name__ == "__main__":
    main()
