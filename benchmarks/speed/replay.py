"""What transitions of MinAtar weigh in a replay buffer, and how long draws of 32 take: ours against SB3's.

DQN's buffer is filled with transitions of Breakout; what is told of memory is by how much the process's has grown. What
prioritised replay costs stands beside updates of DQN with MinAtar's network, from a full buffer of boards at random
with priorities all over.
"""

from __future__ import annotations

from typing import Any

from benchmarks.harness.child import peak_megabytes
from benchmarks.harness.declared import MEGABYTES, MICROSECONDS, Repetition, Row, Side, Spent

TITLE = "What does replay weigh, and how long do draws take?"
GAMES, DRAWN = 16, 32
BATCHES = (32, 64, 128, 256)


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


def _prioritized(transitions: int) -> Any:
    """A learner with a full buffer of boards, a tenth of whose pixels are set."""
    import numpy as np
    from stable_baselines3.common.logger import Logger

    import agents
    import envs

    model = agents.DQN(
        "CnnPolicy", envs.make("breakout", n_envs=GAMES, seed=0), buffer_size=transitions, replay="prioritized", seed=0,
        device="cpu",
    )  # fmt: skip
    model.set_logger(Logger(None, []))
    buffer, random = model.replay_buffer, np.random.default_rng(0)
    some = random.random((1000, *buffer.obs_shape)) < 0.1
    for _ in range(buffer.buffer_size):
        chosen, rewards, dones = (
            random.integers(len(some), size=(2, GAMES)),
            random.random(GAMES) < 0.1,
            np.zeros(GAMES),
        )
        buffer.add(some[chosen[0]], some[chosen[1]], random.integers(6, size=GAMES), rewards, dones, [{}] * GAMES)
    filled = transitions // GAMES * GAMES
    buffer.update_priorities(np.arange(filled), random.exponential(size=filled))
    return model


def updating(transitions: int, batch: int, turns: int) -> Repetition:
    """Updates of DQN, with their draws and renewals."""
    model = _prioritized(transitions)

    def repetition() -> float:
        model.train(turns, batch)
        return turns

    return repetition


def renewing(transitions: int, batch: int, turns: int) -> Repetition:
    """Draws by priority, and renewals of what was drawn."""
    import numpy as np

    buffer = _prioritized(transitions).replay_buffer
    errors = np.random.default_rng(1).random(batch).astype(np.float32)

    def repetition() -> float:
        for _ in range(turns):
            buffer.update_priorities(buffer.sample(batch).indices, errors)
        return turns

    return repetition


def drawing_uniformly(transitions: int, batch: int, turns: int) -> Repetition:
    """Uniform draws from the same buffer."""
    buffer = _prioritized(transitions).replay_buffer

    def repetition() -> float:
        for _ in range(turns):
            buffer.sample_uniformly(batch)
        return turns

    return repetition


def _by_priority(batch: int) -> Row:
    sides = {
        "an update": Side(updating),
        "draw and renewal": Side(renewing, at_most=0.05),
        "uniform draw": Side(drawing_uniformly),
    }
    return Row(
        f"replay/prioritized_{batch}",
        f"prioritised replay of a million transitions of MinAtar, {batch} drawn",
        sides,
        MICROSECONDS,
        {"transitions": 1_000_000, "batch": batch, "turns": 20},
        quick={"transitions": 10_000, "turns": 2},
        repetitions=15,
    )


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
    *(_by_priority(batch) for batch in BATCHES),
]
