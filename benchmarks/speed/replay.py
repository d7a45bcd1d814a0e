"""What transitions of MinAtar weigh in a replay buffer, and how long draws of 32 take: ours against SB3's.

DQN's buffer is filled with transitions of Breakout; what is told of memory is by how much the process's has grown.
"""

from __future__ import annotations

from typing import Any

from benchmarks.harness.child import peak_megabytes
from benchmarks.harness.declared import MEGABYTES, MICROSECONDS, Repetition, Row, Side, Spent

TITLE = "What does replay weigh, and how long do draws take?"
GAMES, DRAWN = 16, 32


def _filled(package: str, transitions: int) -> Any:
    """A buffer with so many transitions, and how many MB it weighs."""
    from importlib import import_module

    import numpy as np

    import agents
    import envs

    env = agents.VectorEnvAdapter(envs.make("breakout", n_envs=GAMES, seed=0))
    algorithm = import_module(package).DQN
    buffer = algorithm("MlpPolicy", env, buffer_size=transitions, device="cpu").replay_buffer
    draw, observations = np.random.default_rng(0), env.reset()
    before = peak_megabytes()
    for _ in range(transitions // GAMES):
        actions = draw.integers(6, size=GAMES)
        following, rewards, dones, infos = env.step(actions)
        buffer.add(observations, following, actions, rewards, dones, infos)
        observations = following
    return buffer, peak_megabytes() - before


def filling(package: str, transitions: int) -> Repetition:
    """Fill a buffer."""
    return lambda: Spent(transitions, megabytes=_filled(package, transitions)[1])


def drawing(package: str, transitions: int, draws: int) -> Repetition:
    """Draw minibatches, to tensors."""
    buffer, _ = _filled(package, transitions)

    def repetition() -> float:
        for _ in range(draws):
            buffer.sample(DRAWN)
        return draws

    return repetition


SB3, OURS = {"package": "stable_baselines3"}, {"package": "agents"}
ROWS = [
    Row(
        "replay/memory",
        "a million transitions of MinAtar (required: 300 MB)",
        {"SB3": Side(filling, SB3), "exact": Side(filling, OURS, at_most=0.15)},
        MEGABYTES,
        {"transitions": 1_000_000},
        quick={"transitions": 10_000},
        fresh=True,
    ),
    Row(
        "replay/draw",
        f"a draw of {DRAWN} transitions of MinAtar",
        {"SB3": Side(drawing, SB3), "exact": Side(drawing, OURS)},
        MICROSECONDS,
        {"transitions": 200_000, "draws": 2000},
        quick={"transitions": 10_000, "draws": 100},
        repetitions=15,
    ),
]
