"""Shifts: wrappers that make a new task of an old one, for any Gymnasium environment."""

from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import ArrayLike, NDArray

from envs.checks import check_number

Step = tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]

_LARGEST = float(np.finfo(np.float32).max)


class Shift(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """What all shifts share: a state of their own.

    ``get_state`` and ``set_state`` are of what this one wrapper holds; ``envs.state`` saves each layer of an
    environment by itself.
    """

    def get_state(self) -> dict[str, Any]:
        """What this wrapper holds: arrays, numbers, text, lists and dicts of these."""
        raise NotImplementedError

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``get_state`` returned."""
        raise NotImplementedError


class ObservationOffset(Shift):
    """Adds a constant to every observation.

    The observation space becomes unbounded, of 32-bit floats, so that one space serves all offsets.

    Args:
        env: An environment whose observations are arrays (a Box).
        offset: What is added, with the shape of an observation.

    Raises:
        ValueError: If the observations are no arrays, or the offset has another shape or is not made of finite numbers.

    >>> env = ObservationOffset(gymnasium.make("CartPole-v1"), [1.0, 0.0, 0.0, -2.0])
    >>> observation, _ = env.reset(seed=0)
    >>> bare, _ = gymnasium.make("CartPole-v1").reset(seed=0)
    >>> (observation - bare).round(4).tolist()
    [1.0, 0.0, 0.0, -2.0]
    """

    def __init__(self, env: gymnasium.Env[Any, Any], offset: ArrayLike) -> None:
        RecordConstructorArgs.__init__(self, offset=offset)
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, gymnasium.spaces.Box):
            raise ValueError(f"ObservationOffset needs observations in a Box, got {space}; flatten them first")
        self.offset = checked_offset(offset, space.shape)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, space.shape, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode; the first observation is offset, too."""
        observation, info = self.env.reset(seed=seed, options=options)
        return np.add(observation, self.offset, dtype=np.float32), info

    def step(self, action: Any) -> Step:
        """Take a step; the observation is offset, all else is the environment's."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return np.add(observation, self.offset, dtype=np.float32), reward, terminated, truncated, info

    def get_state(self) -> dict[str, Any]:
        """The offset, so that a state of another world is noticed."""
        return {"offset": self.offset.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Check that the state is of the same world.

        Raises:
            ValueError: If it was saved with another offset.
        """
        if not np.array_equal(state["offset"], self.offset):
            raise ValueError(
                f"a state with the offset {np.asarray(state['offset']).tolist()} cannot be set on observations with "
                f"{self.offset.tolist()}; make the environment or its stream with the arguments that it was saved with"
            )


class RewardScale(Shift):
    """Multiplies every reward, for learning, and reports the return as if it had not.

    The info of a step that ends an episode holds ``unscaled_return``, the sum of the episode's rewards before scaling.

    Args:
        env: Any environment.
        scale: The factor, above 0.

    Raises:
        ValueError: If the factor is not a finite number above 0.

    >>> env = RewardScale(gymnasium.make("CartPole-v1", max_episode_steps=3), 0.05)
    >>> _ = env.reset(seed=0)
    >>> for action in (0, 1, 0):
    ...     _, reward, terminated, truncated, info = env.step(action)
    >>> reward, terminated, truncated, info
    (0.05, False, True, {'unscaled_return': 3.0})
    """

    def __init__(self, env: gymnasium.Env[Any, Any], scale: float) -> None:
        RecordConstructorArgs.__init__(self, scale=scale)
        super().__init__(env)
        self.scale = check_number("scale", scale, "give a factor such as 0.05", above=0)
        self._return = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self._return = 0.0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> Step:
        """Take a step; the reward is scaled, all else is the environment's but for ``unscaled_return``."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        unscaled = float(reward)
        self._return += unscaled
        if terminated or truncated:
            # Where rewards are scaled twice, the inner wrapper knows the true return.
            info = {"unscaled_return": self._return} | info
        return observation, unscaled * self.scale, terminated, truncated, info

    def get_state(self) -> dict[str, Any]:
        """The factor, so that a state of another world is noticed, and the return of the episode so far."""
        return {"scale": self.scale, "return": self._return}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on with the return that the episode had.

        Raises:
            ValueError: If it was saved with another factor.
        """
        if state["scale"] != self.scale:
            raise ValueError(
                f"a state with rewards times {state['scale']} cannot be set on one with rewards times {self.scale}; "
                "make the environment or its stream with the arguments that it was saved with"
            )
        self._return = state["return"]


def checked_offset(offset: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """``offset`` as an array for observations of ``shape``.

    Raises:
        ValueError: If it has another shape, or is not made of finite numbers.
    """
    remedy = "give as many finite numbers as an observation has"
    try:
        values = np.asarray(offset)
    except ValueError as error:  # lists of unequal lengths
        raise ValueError(f"offset must be numbers of shape {shape}, got {offset!r}; {remedy}") from error
    if values.shape != shape:
        raise ValueError(
            f"offset must have the observations' shape {shape}, got {offset!r} of {values.shape}; {remedy}"
        )
    if values.dtype.kind not in "iuf" or not (np.abs(values) <= _LARGEST).all():
        raise ValueError(f"offset must be finite numbers, got {offset!r}; {remedy}")
    return values.astype(np.float32)
