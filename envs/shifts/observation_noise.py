"""Observations with Gaussian noise."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.checks import check_number
from envs.games import Games
from envs.shifts.draws import Draws
from envs.shifts.observations import VectorObservationShift
from envs.shifts.wrapper import Shift


class VectorObservationNoise(VectorObservationShift):
    """`ObservationNoise` around a batch of games; every game has a generator of its own, seeded with the game."""

    std: float
    _draws: Draws

    def __init__(self, games: Games, *args: Any, **kwargs: Any) -> None:
        super().__init__(games, *args, **kwargs)
        size = int(np.prod(self._box().shape))
        self._draws = Draws(self._draws_key("observation_noise"), self.num_envs, size, "standard_normal")
        self._last = np.zeros((self.num_envs, *self._box().shape), np.float32)

    def _checked(self, std: Any) -> dict[str, Any]:
        return {"std": check_number("std", std, "give a standard deviation such as 0.1", low=0)}

    def _shifted(self, observations: NDArray[Any], games: NDArray[np.intp] | None = None) -> NDArray[Any]:
        noise = self._draws.take(games).reshape(observations.shape)
        noise *= np.float32(self.std)
        np.add(noise, observations, out=noise, casting="same_kind")
        return noise

    def _seen(self, observations: NDArray[Any], active: NDArray[np.bool_] | None) -> NDArray[Any]:
        if active is None:
            self._last = self._shifted(observations)
        else:  # the noise of a game that stands still does, too
            games = np.flatnonzero(active)
            self._last = self._last.copy()
            self._last[games] = self._shifted(observations[games], games)
        return self._last


class ObservationNoise(Shift):
    """Adds to every number of every observation a draw of a Gaussian of mean 0.

    The observation space becomes unbounded, of 32-bit floats. The draws come from a generator of the shift's own, which
    ``reset(seed=...)`` seeds; the environment's draws are what they would be without.

    Args:
        env: an environment whose observations are arrays (a Box).
        std: standard deviation of the noise, at least 0.

    Raises:
        ValueError: the observations are no arrays, or the deviation is not a finite number of at least 0.

    >>> env = ObservationNoise(gymnasium.make("CartPole-v1"), 0.1)
    >>> first, second = env.reset(seed=0)[0], env.reset(seed=0)[0]
    >>> (first == second).all().item(), (first == env.reset()[0]).any().item()
    (True, False)
    """

    batched = VectorObservationNoise

    def __init__(self, env: gymnasium.Env[Any, Any], std: float) -> None:
        super().__init__(env, std=std)
