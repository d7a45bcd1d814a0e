"""What the fit probe costs beside the visits of the main job: PPO on 64 MinAtar games, one thread.

A visit of 500,000 steps has 61 rollouts of 64 x 128 steps. Of six visits five are probed, the first of them with the
fresh network's fits too.
"""

from __future__ import annotations

from typing import Any

from benchmarks.harness.clocks import timed
from benchmarks.harness.declared import SECONDS, Repetition, Row, Side, Spent
from benchmarks.speed.diagnostics import PPO, ROLLOUT

TITLE = "What does the fit probe cost?"
ROLLOUTS, VISITS = 61, 6


def _model() -> Any:
    import envs
    from agents import PPO as OurPPO

    stream = envs.make("minatar3", n_envs=64, steps_per_task=500_000, cycles=2)
    return OurPPO("CnnPolicy", stream, **PPO, seed=1, device="cpu").learn(2 * ROLLOUT)


def visit(rollouts: int) -> Repetition:
    """Some rollouts of a visit, and their updates."""
    model = _model()

    def repetition() -> float:
        model.learn(rollouts * ROLLOUT, reset_num_timesteps=False)
        return rollouts / ROLLOUTS

    return repetition


def probes(rollouts: int) -> Repetition:
    """A first probe and a later one: what all of six visits take, by the visit."""
    from agents.plasticity.diagnostics import FitProbe

    model = _model()

    def repetition() -> Spent:
        probe = FitProbe(model, 1)
        first, later = (timed(lambda: probe.measure(model.sample)) for _ in range(2))
        taken = first + (VISITS - 2) * later
        seconds, processor = taken
        return Spent(VISITS, seconds, processor, notes={"first, s": first[0], "later, s": later[0]})

    return repetition


ROWS = [
    Row(
        "fit_probe/visit",
        "a visit of the main job",
        {"training": Side(visit), "fit probe": Side(probes, at_most=0.03)},
        SECONDS,
        {"rollouts": 3},
        quick={"rollouts": 1},
    )
]
