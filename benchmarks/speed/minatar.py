"""Batched MinAtar against the ``minatar`` package, with padded observations of every game written out on both sides.

Actions are drawn beforehand. The package's games are played one after the other, which makes its rate the same for any
number of them. A first batch is what a process takes to import, make and step one: on a machine that has never done so,
which compiles it, and with the kernels on disk.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

from benchmarks.harness.declared import SECONDS, Repetition, Row, Side

TITLE = "How fast is MinAtar in batches?"
GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
FEW = 64  # games of the package: more would only take longer


def _actions(steps: int, n: int) -> Any:
    import numpy as np

    return np.random.default_rng(0).integers(6, size=(-(-steps // n), n))


def batch(game: str, n: int, steps: int) -> Repetition:
    """Our games."""
    from envs.minatar import MinAtarGames

    games, actions = MinAtarGames(game, n), _actions(steps, n)
    games.reset(seed=0)

    def repetition() -> float:
        for chosen in actions:
            games.step(chosen)
        return float(actions.size)

    return repetition


def package(game: str, n: int, steps: int) -> Repetition:
    """The package's."""
    import minatar
    import numpy as np

    games, actions = [minatar.Environment(game) for _ in range(min(n, FEW))], _actions(steps, min(n, FEW))
    channels = games[0].n_channels
    for i, env in enumerate(games):
        env.seed(i)
        env.reset()

    def repetition() -> float:
        for chosen in actions.tolist():
            observations = np.zeros((len(games), 10, 10, 10), np.bool_)
            for i, (env, action) in enumerate(zip(games, chosen, strict=True)):
                _, ended = env.act(action)
                if ended:
                    env.reset()
                observations[i, :, :, :channels] = env.state()
        return float(actions.size)

    return repetition


def first_batch(game: str, compiled: bool) -> Repetition:
    """The first batch of a process."""

    def repetition() -> float:
        with tempfile.TemporaryDirectory() as folder:
            if not compiled:
                os.environ["NUMBA_CACHE_DIR"] = folder
            import numpy as np

            from envs.minatar import MinAtarGames

            games = MinAtarGames(game, 64)
            games.reset(seed=0)
            games.step(np.zeros(64, np.int64))
        return 1

    return repetition


def _rates(game: str, n: int) -> Row:
    sides = {"package": Side(package, {"steps": 20_000}), "batch": Side(batch, {"steps": 10**6})}
    required = " (required: 3 million steps/s)" if n >= 1024 else ""
    return Row(
        f"minatar/{game}_{n}", f"{game}, {n:,} games{required}", sides, settings={"game": game, "n": n}, repetitions=15
    )


def _first(game: str) -> Row:
    sides = {"compiled": Side(first_batch, {"compiled": False}), "from disk": Side(first_batch, {"compiled": True})}
    return Row(f"minatar/{game}_first", f"{game}, the first batch", sides, SECONDS, {"game": game}, fresh=True)


ROWS = [row for game in GAMES for row in (_rates(game, 1024), _rates(game, 64), _first(game))]
