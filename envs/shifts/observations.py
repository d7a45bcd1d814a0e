"""What all shifts of observations share."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.games import Games, Seeds, Step
from envs.shifts.base import VectorShift


class VectorObservationShift(VectorShift):
    """A shift that changes observations, those in ``final_obs`` among them, and nothing else."""

    def __init__(self, games: Games, *args: Any, **kwargs: Any) -> None:
        super().__init__(games, *args, **kwargs)
        self.single_observation_space = self._space()
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As in `Games`; the first observations are shifted, too."""
        observations, info = super().reset(seed=seed, options=options)
        return self._seen(np.asarray(observations), None), info

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """As in `Games`; observations are shifted, all else is the games'."""
        observations, rewards, terminations, truncations, info = self.games.step(actions, active)
        if "final_obs" in info:  # before what follows them, as in one game after the other
            info = info | {"final_obs": self._final(info["final_obs"], info["_final_obs"])}
        return self._seen(np.asarray(observations), active), rewards, terminations, truncations, info

    def _seen(self, observations: NDArray[Any], active: NDArray[np.bool_] | None) -> NDArray[Any]:
        """The shifted observations of all games, of which those ``active`` have moved."""
        return self._shifted(observations)

    def _final(self, observations: NDArray[Any], ended: NDArray[np.bool_]) -> NDArray[Any]:
        """The shifted last observations of the games that ``ended``, in the form in which the games gave them."""
        games = np.flatnonzero(ended)
        if observations.dtype != object:
            final = np.zeros(self.observation_space.shape or (), self.observation_space.dtype)
            final[games] = self._shifted(observations[games], games)
            return final
        final = np.full(self.num_envs, None, object)
        for game, row in zip(games, self._shifted(np.stack(observations[games].tolist()), games), strict=True):
            final[game] = row
        return final

    def _space(self) -> gymnasium.spaces.Box:
        """The space of one game's shifted observations: unbounded, so that one space serves all arguments."""
        return gymnasium.spaces.Box(-np.inf, np.inf, self._box().shape, np.float32)

    def _shifted(self, observations: NDArray[Any], games: NDArray[np.intp] | None = None) -> NDArray[Any]:
        """A fresh array of shifted ``observations``, one for each of ``games`` (None: for all in order)."""
        raise NotImplementedError

    def _box(self) -> gymnasium.spaces.Box:
        """The space of one game's observations without the shift."""
        space = self.games.single_observation_space
        if not isinstance(space, gymnasium.spaces.Box):
            raise ValueError(f"{self.label} needs observations in a Box, got {space}; flatten them first")
        return space
