"""Actions that last several steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.checks import check_int
from envs.games import Step
from envs.infos import merge_infos
from envs.shifts.base import VectorShift
from envs.shifts.wrapper import Shift


class VectorFrameSkip(VectorShift):
    """`FrameSkip` around a batch of games; a game whose episode has ended stands still until all others are done."""

    skip: int

    def _checked(self, skip: Any) -> dict[str, Any]:
        return {"skip": check_int("skip", skip, 1, "give the steps that an action lasts, such as 4")}

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """As in `Games`; the infos are those of each game's last step."""
        observations, rewards, terminations, truncations, info = self.games.step(actions, active)
        playing = np.ones(self.num_envs, np.bool_) if active is None else active
        infos = [(info, playing)]
        for _ in range(self.skip - 1):
            ended = terminations | truncations
            if ended.any():
                playing = playing & ~ended
                active = playing
                if not playing.any():
                    break
            observations, more, terminated, truncated, info = self.games.step(actions, active)
            rewards = rewards + more
            terminations, truncations = terminations | terminated, truncations | truncated
            infos.append((info, playing))
        return observations, rewards, terminations, truncations, _last_infos(infos)


class FrameSkip(Shift):
    """Repeats every action for some steps and adds up their rewards; the end of an episode ends the repetition.

    Observation, flags and info are those of the last step. What is around this shift (a time limit, a segment's
    budget) counts a repetition as one step.

    Args:
        env: any environment.
        skip: steps that an action lasts, at least 1.

    Raises:
        ValueError: ``skip`` is not a whole number of at least 1.

    >>> env = FrameSkip(gymnasium.make("CartPole-v1"), 4)
    >>> _ = env.reset(seed=0)
    >>> env.step(1)[1]
    4.0
    """

    batched = VectorFrameSkip

    def __init__(self, env: gymnasium.Env[Any, Any], skip: int) -> None:
        super().__init__(env, skip=skip)


def _last_infos(infos: Sequence[tuple[dict[str, Any], NDArray[np.bool_]]]) -> dict[str, Any]:
    """Of several steps' vector infos, each with the games that took the step, what each game said last."""
    merged: dict[str, Any] = {}
    later = np.zeros_like(infos[0][1])
    if np.array_equal(infos[0][1], infos[-1][1]):
        return infos[-1][0]  # nobody stopped before
    for info, played in reversed(infos):
        last = played & ~later
        if last.any():
            merge_infos(merged, info, last)
        later = played
    return merged
