"""ProcGen (Cobbe et al., arXiv 1912.01588): sixteen games whose levels are made from numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.catalogue import PROCGEN
from envs.checks import check_choice, check_int
from envs.pool.games import PoolGames
from envs.pool.worlds import worlds

LEVELS = 2**31 - 1
"""How many there are: the numbers below this."""
CELL = 5  # a picture's pixels, for each of an observation's


class ProcgenGames(PoolGames):
    """Games of ProcGen, as envpool plays them.

    Observations are uint8 images of shape (3, 64, 64), channels first. In each episode a game plays one of its levels,
    which the game's seed draws; nothing else is drawn, so that with a single level the actions decide everything. An
    episode that has not ended by itself before envpool's limit for the game (500 to 6,000 steps) is truncated, and so
    is one that ends in that very step.

    Args:
        task: one of ``envs.catalogue.PROCGEN``, such as "starpilot_hard".
        n_envs: games played side by side.
        start_level: the first level, at least 0.
        num_levels: how many levels there are from there on; 0 for all, of which 0 is the first.
        render_mode: None or "rgb_array".

    Raises:
        ImportError: envpool is not installed, or cannot be imported.
        ValueError: an argument is out of range.
    """

    suite = "ProcGen"
    meanings = (
        "downleft", "left", "upleft", "down", "noop", "up", "downright", "right", "upright",
        "d", "a", "w", "s", "q", "e",
    )  # fmt: skip
    extra = "procgen"

    def __init__(
        self, task: str, n_envs: int, *, start_level: int = 0, num_levels: int = 0, render_mode: str | None = None
    ) -> None:
        game, _, mode = check_choice("a ProcGen task", task, PROCGEN).partition("_")
        id = f"{game.capitalize()}{mode.capitalize()}-v0"
        start, count = _checked_levels(start_level, num_levels)
        levels = {"start_level": start, "num_levels": count}
        super().__init__(task, n_envs, id, levels, render_mode=render_mode, start_level=start, num_levels=count)

    def _pictures(self) -> NDArray[np.uint8]:
        pictures: NDArray[np.uint8] = self._observations.transpose(0, 2, 3, 1)
        return pictures.repeat(CELL, axis=1).repeat(CELL, axis=2)


def _checked_levels(start_level: object, num_levels: object) -> tuple[int, int]:
    """The first level and how many there are.

    Raises:
        ValueError: there are no such levels.
    """
    start = check_int("start_level", start_level, 0, "give the first level such as 20")
    count = check_int("num_levels", num_levels, 0, "give how many levels there are such as 1, or 0 for all")
    if count == 0 and start:
        raise ValueError(
            f"num_levels=0 stands for all levels, which begin at 0, got start_level={start}; give how many there are "
            "from there on"
        )
    if start + count > LEVELS:
        raise ValueError(
            f"levels end at {LEVELS - 1:,}, got start_level={start:,} and num_levels={count:,}; give smaller numbers"
        )
    return start, count


__getattr__ = worlds(PROCGEN, ProcgenGames)
