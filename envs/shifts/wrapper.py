"""What all shifts of one environment share: each is the shift of a batch, around a batch of one."""

from __future__ import annotations

from typing import Any, ClassVar, SupportsFloat

import gymnasium
from gymnasium.utils import RecordConstructorArgs

from envs.checks import did_you_mean
from envs.infos import UNSCALED
from envs.shifts.base import VectorShift
from envs.shifts.one_game import OneGame
from envs.state import Layer

EnvStep = tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]


class Shift(Layer, RecordConstructorArgs):
    """A wrapper that makes a new task of an old one, for any Gymnasium environment.

    What a shift draws comes from a generator of its own, see ``envs.shifts.draws``, so that the environment's draws are
    what they would be without it. The shift's arguments are attributes of the wrapper.

    Attributes:
        shift: the same around the environment as a batch of one.
    """

    batched: ClassVar[type[VectorShift]]

    def __init__(self, env: gymnasium.Env[Any, Any], **arguments: Any) -> None:
        RecordConstructorArgs.__init__(self, **arguments)
        Layer.__init__(self, env)
        self._game = OneGame(env)
        self.shift = self.batched(self._game, **arguments)
        if self.shift.single_observation_space is not env.observation_space:
            self.observation_space = self.shift.single_observation_space

    def __getattr__(self, name: str) -> Any:
        shift = vars(self).get("shift")
        if shift is not None and name in shift.arguments:
            return getattr(shift, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; a ``seed`` begins the shift's draws anew."""
        observations, _ = self.shift.reset(seed=seed, options=options)
        return observations[0], self._game.info

    def step(self, action: Any) -> EnvStep:
        """Take a step."""
        observations, rewards, terminations, truncations, said = self.shift.step([action])
        info = self._game.info
        if UNSCALED in said.get("final_info", ()):
            info = info | {UNSCALED: float(said["final_info"][UNSCALED][0])}
        return observations[0], float(rewards[0]), bool(terminations[0]), bool(truncations[0]), info

    def configure(self, **arguments: Any) -> None:
        """Change arguments in place, from the next step on, checked as when the shift was made.

        Arguments that this shift does not take are passed on to the environment.

        Raises:
            ValueError: a value is out of range, or nobody inside takes the argument.
        """
        known = self.shift.arguments
        rest = [name for name in arguments if name not in known]
        if rest and not self.env.has_wrapper_attr("configure"):
            raise ValueError(
                f"{type(self).__name__} takes no argument {rest[0]!r}, only {', '.join(known)}, and "
                f"{type(self.env.unwrapped).__name__} has no argument that can be changed"
                f"{did_you_mean(rest[0], known) or '; remove it'}"
            )
        self.shift.configure(**arguments)

    def get_state(self) -> dict[str, Any]:
        """What this shift holds, without the environment."""
        return self.shift.own_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``get_state`` returned.

        Raises:
            ValueError: it was saved by a shift that was made with other arguments.
        """
        self.shift.set_own_state(state)
