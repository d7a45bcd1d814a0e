"""Envpool through crl's adapter against bare envpool: real transitions per second of both, and of a stream around it.

Envpool resets a finished game in its next step, which plays nothing and does not count; the adapter resets it at once.
All sides play games of the same seeds with the same drawn actions.
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.harness.declared import Repetition, Row, Side

TITLE = "How fast is envpool through the adapter?"
QT = ("PyQt5-Qt5",) if sys.platform == "linux" else ()  # what ProcGen draws with there


def played(side: str, task: str, games: int, steps: int) -> Repetition:
    """So many steps over all games, of `envpool`, of the `adapter` around it or of a `stream` around that."""
    import numpy as np

    import envs
    from envs.catalogue import TASKS

    made: Any = TASKS[task].resolve().make_games(games)
    made.action_space.seed(0)
    actions = np.stack([made.action_space.sample() for _ in range(max(1, steps // games))])
    if side == "envpool":
        return _bare(made, actions)
    played = made if side == "adapter" else envs.make(task, n_envs=games)
    played.reset(seed=0)

    def repetition() -> float:
        for chosen in actions:
            played.step(chosen)
        return len(actions) * games

    return repetition


def _bare(made: Any, actions: Any) -> Repetition:
    """Envpool itself, as it is made for a batch of the adapter."""
    pool = made._made([*range(made.num_envs)])
    pool.reset()
    held: list[Any] = []

    def repetition() -> float:
        real = 0
        for chosen in actions:
            # A learner has the observations of a step while it takes the next.
            held[:] = pool.step(chosen.astype(made._taken))
            real += int((held[4]["elapsed_step"] > 0).sum())
        return real

    return repetition


def _row(task: str, games: int) -> Row:
    needs = ("envpool", *(QT if task.startswith("starpilot") else ()))
    sides = {
        "envpool": Side(played, {"side": "envpool"}, needs=needs),
        "adapter": Side(played, {"side": "adapter"}, at_least=0.95 if games == 64 else None, needs=needs),
        "stream": Side(played, {"side": "stream"}, needs=needs),
    }
    settings = {"task": task, "games": games, "steps": 6_400}
    name = f"pool/{task.replace('/', '_')}_{games}"
    return Row(name, f"{task}, {games} games", sides, settings=settings, quick={"steps": 128}, repetitions=15)


ROWS = [_row(task, games) for task in ("starpilot_hard", "atari/pong", "dmc/walker-walk") for games in (64, 16)]
