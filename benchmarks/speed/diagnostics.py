"""What it takes to measure all diagnostics after every rollout of the main job's PPO, beside not measuring any.

Once in ten rollouts also those of kernels and gradients are measured, as runs do, so that a repetition is ten.
"""

from __future__ import annotations

from typing import Any

from benchmarks.harness.declared import SECONDS, Repetition, Row, Side

TITLE = "What do diagnostics cost?"
ROLLOUT = 64 * 128
PPO: dict[str, Any] = {"n_steps": 128, "batch_size": 1024, "n_epochs": 4, "learning_rate": 1e-3, "ent_coef": 0.01}


def rollouts(n: int, measures: bool = False) -> Repetition:
    """So many rollouts and their updates, and what is measured after each."""
    import torch

    import envs
    from agents import PPO as OurPPO
    from agents.plasticity.diagnostics import Diagnostics

    games = envs.make("minatar3", n_envs=64, steps_per_task=10**9, seed=1)
    model = OurPPO("CnnPolicy", games, **PPO, seed=1, device="cpu")
    diagnostics = Diagnostics(model, torch.Generator().manual_seed(1))

    def repetition() -> float:
        for _ in range(n):
            model.learn(ROLLOUT, reset_num_timesteps=False)
            if measures:
                diagnostics.measure()
        return n

    return repetition


ROWS = [
    Row(
        "diagnostics/every_rollout",
        "a rollout and update of PPO, CNN, minatar3, 64 games",
        {"without": Side(rollouts), "all diagnostics": Side(rollouts, {"measures": True}, at_most=1.03)},
        SECONDS,
        {"n": 10},
        quick={"n": 1},
        repetitions=9,
        threads=None,
    )
]
