"""What the fit probe costs beside a visit of the main job, by processor time: PPO on 64 MinAtar games, one thread.

Both sides run in one process, in turn. A visit of 500,000 steps has 61 rollouts of 64 x 128 steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

import envs
from agents import PPO
from agents.plasticity.diagnostics import FitProbe

ROLLOUT, ROLLOUTS = 64 * 128, 61
ROUNDS, TIMED = 3, 3
SETTINGS = {"n_steps": 128, "batch_size": 1024, "n_epochs": 4, "learning_rate": 1e-3, "ent_coef": 0.01}


def seconds(call: Callable[[], Any]) -> float:
    """Processor time of a call."""
    began = time.process_time()
    call()
    return time.process_time() - began


def main() -> None:
    """Print a line for each round."""
    torch.set_num_threads(1)
    stream = envs.make("minatar3", n_envs=64, steps_per_task=500_000, cycles=2)
    model = PPO("CnnPolicy", stream, **SETTINGS, seed=1, device="cpu")
    model.learn(2 * ROLLOUT)
    for _ in range(ROUNDS):
        visit = ROLLOUTS / TIMED * seconds(lambda: model.learn(TIMED * ROLLOUT, reset_num_timesteps=False))
        probe = FitProbe(model, 1)
        first, later = (seconds(partial(probe.measure, model.sample)) for _ in range(2))
        print(
            f"a visit {visit:.1f} s; the first probe {first:.2f} s, with the fresh network; a later one {later:.2f} s, "
            f"{later / visit:.2%}; six visits, of which five are probed: {(first + 4 * later) / (6 * visit):.2%}"
        )


if __name__ == "__main__":
    main()
