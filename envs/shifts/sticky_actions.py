"""Actions that stick."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.checks import check_number
from envs.games import Games, Seeds, Step
from envs.shifts.base import VectorShift
from envs.shifts.draws import Draws
from envs.shifts.wrapper import Shift

_ARRAYS = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Box)


class VectorStickyActions(VectorShift):
    """`StickyActions` around a batch of games; every game has a generator of its own, seeded with the game."""

    probability: float
    _held = ("previous", "begun")
    _draws: Draws

    def __init__(self, games: Games, *args: Any, **kwargs: Any) -> None:
        super().__init__(games, *args, **kwargs)
        self._draws = Draws(self._draws_key("sticky_actions"), self.num_envs, 1, "random")
        self._previous = np.zeros(self.action_space.shape or (), self.action_space.dtype)
        self._begun = np.zeros(self.num_envs, np.bool_)  # whether the episode has a previous action

    def _checked(self, probability: Any) -> dict[str, Any]:
        space = self.games.single_action_space
        if not isinstance(space, _ARRAYS):
            raise ValueError(f"{self.label} needs actions that are arrays, got {space}; flatten them")
        remedy = "give the probability that an action is repeated, such as 0.25"
        return {"probability": check_number("probability", probability, remedy, low=0, high=1)}

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As in `Games`; nothing sticks yet, and seeds begin the draws anew."""
        self._begun[:] = False
        return super().reset(seed=seed, options=options)

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """As in `Games`, each with its action or its previous one."""
        if active is None:
            sticks = self._begun & (self._draws.take()[:, 0] < self.probability)
        else:  # a game that stands still keeps its action and draws nothing
            sticks = ~active
            games = np.flatnonzero(active)
            sticks[games] = self._begun[games] & (self._draws.take(games)[:, 0] < self.probability)
        chosen = np.asarray(actions, self._previous.dtype)
        self._previous = np.where(sticks.reshape(-1, *[1] * (chosen.ndim - 1)), self._previous, chosen)
        step = self.games.step(self._previous, active)
        moved = True if active is None else active
        self._begun = (self._begun | moved) & ~(step[2] | step[3])  # where one has ended, another begins
        return step


class StickyActions(Shift):
    """Executes the game's previous action again, with a probability, in place of the one chosen.

    After Machado et al., "Revisiting the Arcade Learning Environment" (arXiv 1709.06009), section 5.2, where the
    probability is 0.25; what was executed sticks, be it chosen or repeated. An episode's first action is always
    executed, as in Gymnasium's ``StickyAction``. The draws come from a generator of the shift's own, which
    ``reset(seed=...)`` seeds.

    Args:
        env: an environment whose actions are numbers or arrays.
        probability: of a repetition, from 0 to 1.

    Raises:
        ValueError: the actions are neither, or the probability is out of range.

    >>> env, bare = StickyActions(gymnasium.make("CartPole-v1"), 1.0), gymnasium.make("CartPole-v1")
    >>> _ = env.reset(seed=0), bare.reset(seed=0)
    >>> _ = env.step(0), bare.step(0)
    >>> (env.step(1)[0] == bare.step(0)[0]).all().item()
    True
    """

    batched = VectorStickyActions

    def __init__(self, env: gymnasium.Env[Any, Any], probability: float) -> None:
        super().__init__(env, probability=probability)
