"""Classic control: Gymnasium's own physics, with what a stream of tasks changes as arguments, and with their state."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.envs.classic_control import AcrobotEnv, CartPoleEnv, PendulumEnv
from gymnasium.wrappers import TimeLimit

from envs.checks import check_int, check_number
from envs.shifts import ObservationOffset, RewardScale
from envs.state import plain


class _Saved(gymnasium.Env[Any, Any]):
    """Gymnasium's physics with its state: ``_held`` changes from step to step, ``_fixed`` tells worlds apart."""

    _held: ClassVar[tuple[str, ...]]
    _fixed: ClassVar[tuple[str, ...]] = ()

    def get_state(self) -> dict[str, Any]:
        """All that decides the future of this env, as copies: arrays, numbers, text, lists and dicts of these."""
        return {
            "world": self._world(),
            "variables": {name: plain(getattr(self, name)) for name in self._held},
            "np_random": plain(self.np_random.bit_generator.state),
            "np_random_seed": self.np_random_seed,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``get_state`` returned.

        Raises:
            ValueError: If the state is of another world, or of one with other physics.
        """
        if state["world"] != self._world():
            raise ValueError(
                f"a state of {state['world']} cannot be set on {self._world()}; make an env with the same arguments"
            )
        for name, value in state["variables"].items():
            setattr(self, name, plain(value))
        self.np_random.bit_generator.state = state["np_random"]
        self._np_random_seed = state["np_random_seed"]

    def _world(self) -> dict[str, Any]:
        return {"class": type(self).__name__} | {name: getattr(self, name) for name in self._fixed}


class CartPole(_Saved, CartPoleEnv):
    """Gymnasium's cart and pole (the physics of CartPole-v1, without its time limit) with their state."""

    _held = ("state", "steps_beyond_terminated")


class Acrobot(_Saved, AcrobotEnv):
    """Gymnasium's acrobot (the physics of Acrobot-v1, without its time limit) with its state."""

    _held = ("state",)


class Pendulum(_Saved, PendulumEnv):
    """Gymnasium's pendulum (the physics of Pendulum-v1, without its time limit) with its state.

    Args:
        gravity: In m/s^2; below 0 the pendulum hangs upwards.
        length: Of the pole, in m, above 0.
        mass: Of the pole, in kg, above 0.
    """

    _held = ("state", "last_u")
    _fixed = ("g", "l", "m")

    def __init__(self, gravity: float = 10.0, length: float = 1.0, mass: float = 1.0) -> None:
        super().__init__(g=check_number("gravity", gravity, "give m/s^2 such as 10.0"))
        self.l = check_number("length", length, "give metres such as 1.0", above=0)
        self.m = check_number("mass", mass, "give kilograms such as 1.0", above=0)


def cartpole(
    *, offset: Sequence[float] | None = None, episode_limit: int = 500, reward_scale: float = 1.0
) -> gymnasium.Env[Any, Any]:
    """CartPole-v1 with an offset on its observations.

    Args:
        offset: Four numbers, added to every observation (cart position in m and speed, pole angle in rad and speed);
            None adds nothing. The space is unbounded with any offset, none included.
        episode_limit: Steps after which an unfinished episode is truncated.
        reward_scale: Factor on rewards, above 0; where it is not 1, an episode's last info has ``unscaled_return``.

    Raises:
        ValueError: If an argument is out of range.
    """
    return _shifted(CartPole(), offset, episode_limit, reward_scale)


def acrobot(
    *, offset: Sequence[float] | None = None, episode_limit: int = 500, reward_scale: float = 1.0
) -> gymnasium.Env[Any, Any]:
    """Acrobot-v1 with an offset on its observations.

    Args:
        offset: Six numbers, added to every observation (cosine and sine of both joints' angles, both speeds in rad/s);
            None adds nothing. The space is unbounded with any offset, none included.
        episode_limit: Steps after which an unfinished episode is truncated.
        reward_scale: Factor on rewards, above 0; where it is not 1, an episode's last info has ``unscaled_return``.

    Raises:
        ValueError: If an argument is out of range.
    """
    return _shifted(Acrobot(), offset, episode_limit, reward_scale)


def pendulum(
    *,
    gravity: float = 10.0,
    length: float = 1.0,
    mass: float = 1.0,
    episode_limit: int = 200,
    reward_scale: float = 1.0,
) -> gymnasium.Env[Any, Any]:
    """Pendulum-v1 with other physics: angle'' = 3 gravity / (2 length) sin(angle) + 3 torque / (mass length^2).

    The largest torque, 2 N m, holds the pole at any angle where it is at least mass x gravity x length / 2; below
    that the pole must be swung up.

    Args:
        gravity: In m/s^2; below 0 the pendulum hangs upwards.
        length: Of the pole, in m, above 0.
        mass: Of the pole, in kg, above 0.
        episode_limit: Steps after which an episode is truncated; it has no other end.
        reward_scale: Factor on rewards, above 0; where it is not 1, an episode's last info has ``unscaled_return``.

    Raises:
        ValueError: If an argument is out of range.
    """
    return _scaled(_limited(Pendulum(gravity, length, mass), episode_limit), reward_scale)


WORLDS: Mapping[str, Callable[..., gymnasium.Env[Any, Any]]] = MappingProxyType(
    {"cartpole": cartpole, "acrobot": acrobot, "pendulum": pendulum}
)
"""What makes an environment of each task in ``envs.catalogue.CONTROL``, from arguments by name."""


def _shifted(
    env: gymnasium.Env[Any, Any], offset: Sequence[float] | None, episode_limit: int, reward_scale: float
) -> gymnasium.Env[Any, Any]:
    # An offset of nothing, too: the first task of a stream has the space of all that follow.
    values = np.zeros(env.observation_space.shape or ()) if offset is None else offset
    return _scaled(ObservationOffset(_limited(env, episode_limit), values), reward_scale)


def _limited(env: gymnasium.Env[Any, Any], episode_limit: int) -> gymnasium.Env[Any, Any]:
    return TimeLimit(env, check_int("episode_limit", episode_limit, 1, "give a number of steps such as 400"))


def _scaled(env: gymnasium.Env[Any, Any], reward_scale: float) -> gymnasium.Env[Any, Any]:
    scale = check_number("reward_scale", reward_scale, "give a factor such as 0.05", above=0)
    return env if scale == 1 else RewardScale(env, scale)
