"""What stands for envpool's ProcGen where that is not installed: games whose every step is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.procgen import batch


class FakePool:
    """As envpool plays: a finished game that is not reset begins its next episode in a step that plays nothing.

    An episode lasts as many steps as its game draws, 2 to 5, those of 5 are truncated; the reward is the action. The
    first row of an image holds the game's level, its seed, the episode and the steps of that (below 256), all else 0.

    Attributes:
        made: those that were made, in their order.
        phantoms: steps that played nothing.
    """

    made: list[FakePool]

    def __init__(self, id: str, **given: Any) -> None:
        assert given["env_type"] == "gymnasium"
        self.id, self.given, self.phantoms = id, given, 0
        count = given["num_envs"]
        self.seeds = np.array(given["seed"])
        self.draws = [np.random.default_rng(seed % 2**32) for seed in given["seed"]]
        self.episodes, self.elapsed, self.lengths = np.zeros((3, count), np.int64)
        self.levels = np.zeros(count, np.int64)
        self.finished = np.ones(count, np.bool_)
        self.made.append(self)

    def reset(self, ids: Any = None) -> tuple[Any, dict[str, Any]]:
        ids = np.arange(len(self.seeds)) if ids is None else ids
        for game in ids:
            self._begin(game)
        return self._images(ids), {"elapsed_step": self.elapsed[ids].copy()}

    def step(self, actions: Any, ids: Any) -> tuple[Any, ...]:
        assert (actions.dtype, ids.dtype) == (np.int32, np.int32)
        phantom = self.finished[ids].copy()
        for game in ids[phantom]:
            self._begin(game)
        self.phantoms += int(phantom.sum())
        self.elapsed[ids[~phantom]] += 1
        ended = ~phantom & (self.elapsed[ids] >= self.lengths[ids])
        truncated = ended & (self.lengths[ids] == 5)
        self.finished[ids] = ended
        rewards = np.where(phantom, 0, actions).astype(np.float32)
        return self._images(ids), rewards, ended & ~truncated, truncated, {"elapsed_step": self.elapsed[ids].copy()}

    def _begin(self, game: int) -> None:
        first, count = self.given["start_level"], self.given["num_levels"]
        self.levels[game] = first + self.draws[game].integers(count or 2**31 - 1)
        self.lengths[game] = self.draws[game].integers(2, 6)
        self.episodes[game] += 1
        self.elapsed[game], self.finished[game] = 0, False

    def _images(self, ids: Any) -> Any:
        images = np.zeros((len(ids), 3, 64, 64), np.uint8)
        for column, values in enumerate((self.levels, self.seeds, self.episodes, self.elapsed)):
            images[:, 0, 0, column] = values[ids] % 256
        return images


def install(monkeypatch: Any) -> list[FakePool]:
    """Have ProcGen's games played by these; returns those that are made from now on."""
    FakePool.made = []
    monkeypatch.setattr(batch, "pool_maker", lambda: FakePool)
    return FakePool.made
