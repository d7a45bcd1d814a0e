"""Classic control: Gymnasium's own physics, with what a stream of tasks changes as arguments, and with their state."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import gymnasium
import numpy as np

from envs.arguments import limited, scaled
from envs.checks import check_choice
from envs.control.games import CartPoleGames
from envs.control.worlds import Acrobot, CartPole, MountainCar, Pendulum
from envs.games import Games, SyncGames
from envs.shifts import ObservationOffset

__all__ = [
    "WORLDS",
    "Acrobot",
    "CartPole",
    "CartPoleGames",
    "MountainCar",
    "Pendulum",
    "acrobot",
    "cartpole",
    "make_games",
    "mountain_car",
    "pendulum",
]


def cartpole(
    *,
    gravity: float = 9.8,
    length: float = 0.5,
    masscart: float = 1.0,
    masspole: float = 0.1,
    force_mag: float = 10.0,
    offset: Sequence[float] | None = None,
    episode_limit: int = 500,
    reward_scale: float = 1.0,
    render_mode: str | None = None,
) -> gymnasium.Env[Any, Any]:
    """CartPole-v1 with other physics, and with an offset on its observations.

    Args:
        gravity: In m/s^2; below 0 the pole falls upwards.
        length: Half of the pole's length, as Gymnasium counts it, in m, above 0.
        masscart: In kg, above 0.
        masspole: In kg, above 0.
        force_mag: The force that either action puts on the cart, in N, above 0.
        offset: Four numbers, added to every observation (cart position in m and speed, pole angle in rad and speed);
            None adds nothing. The space is unbounded with any offset, none included.
        episode_limit: Steps after which an unfinished episode is truncated.
        reward_scale: Factor on rewards, above 0; where it is not 1, an episode's last info has ``unscaled_return``.
        render_mode: None, "rgb_array" or "human".

    Raises:
        ValueError: If an argument is out of range.
    """
    env = CartPole(gravity, length, masscart, masspole, force_mag, render_mode)
    return _shifted(env, offset, episode_limit, reward_scale)


def acrobot(
    *,
    gravity: float = 9.8,
    length_1: float = 1.0,
    length_2: float = 1.0,
    mass_1: float = 1.0,
    mass_2: float = 1.0,
    offset: Sequence[float] | None = None,
    episode_limit: int = 500,
    reward_scale: float = 1.0,
    render_mode: str | None = None,
) -> gymnasium.Env[Any, Any]:
    """Acrobot-v1 with other physics, and with an offset on its observations.

    The links' moments of inertia stay Gymnasium's 1 kg m^2, and the goal stays a matter of the angles alone.

    Args:
        gravity: In m/s^2; below 0 the links fall upwards.
        length_1: Of the link that hangs from the fixed joint, in m, above 0; its mass is centred in the middle.
        length_2: Of the other link, in the same way.
        mass_1: Of the first link, in kg, above 0.
        mass_2: Of the second link, in kg, above 0.
        offset: Six numbers, added to every observation (cosine and sine of both joints' angles, both speeds in rad/s);
            None adds nothing. The space is unbounded with any offset, none included.
        episode_limit: Steps after which an unfinished episode is truncated.
        reward_scale: Factor on rewards, above 0; where it is not 1, an episode's last info has ``unscaled_return``.
        render_mode: None, "rgb_array" or "human".

    Raises:
        ValueError: If an argument is out of range.
    """
    env = Acrobot(gravity, length_1, length_2, mass_1, mass_2, render_mode)
    return _shifted(env, offset, episode_limit, reward_scale)


def mountain_car(
    *,
    gravity: float = 0.0025,
    force: float = 0.001,
    goal_velocity: float = 0.0,
    offset: Sequence[float] | None = None,
    episode_limit: int = 200,
    reward_scale: float = 1.0,
    render_mode: str | None = None,
) -> gymnasium.Env[Any, Any]:
    """MountainCar-v0 with other physics: a step adds (action - 1) x force - gravity x cos(3 x position) to the speed.

    Args:
        gravity: Per step, any number; below 0 the valley pushes the car up its sides.
        force: Per step, above 0.
        goal_velocity: Speed that the car must at least have at the goal.
        offset: Two numbers, added to every observation (position and speed); None adds nothing. The space is unbounded
            with any offset, none included.
        episode_limit: Steps after which an unfinished episode is truncated.
        reward_scale: Factor on rewards, above 0; where it is not 1, an episode's last info has ``unscaled_return``.
        render_mode: None, "rgb_array" or "human".

    Raises:
        ValueError: If an argument is out of range.
    """
    return _shifted(MountainCar(gravity, force, goal_velocity, render_mode), offset, episode_limit, reward_scale)


def pendulum(
    *,
    gravity: float = 10.0,
    length: float = 1.0,
    mass: float = 1.0,
    offset: Sequence[float] | None = None,
    episode_limit: int = 200,
    reward_scale: float = 1.0,
    render_mode: str | None = None,
) -> gymnasium.Env[Any, Any]:
    """Pendulum-v1 with other physics: angle'' = 3 gravity / (2 length) sin(angle) + 3 torque / (mass length^2).

    The largest torque, 2 N m, holds the pole at any angle where it is at least mass x gravity x length / 2; below
    that the pole must be swung up.

    Args:
        gravity: In m/s^2; below 0 the pendulum hangs upwards.
        length: Of the pole, in m, above 0.
        mass: Of the pole, in kg, above 0.
        offset: Three numbers, added to every observation (cosine and sine of the angle, speed in rad/s). The space is
            then unbounded; with None it is Gymnasium's, so that a stream which shifts some tasks gives the others
            an offset of zeros.
        episode_limit: Steps after which an episode is truncated; it has no other end.
        reward_scale: Factor on rewards, above 0; where it is not 1, an episode's last info has ``unscaled_return``.
        render_mode: None, "rgb_array" or "human".

    Raises:
        ValueError: If an argument is out of range.
    """
    env = Pendulum(gravity, length, mass, render_mode)
    if offset is None:
        return scaled(limited(env, episode_limit), reward_scale)
    return _shifted(env, offset, episode_limit, reward_scale)


WORLDS: Mapping[str, Callable[..., gymnasium.Env[Any, Any]]] = MappingProxyType(
    {"cartpole": cartpole, "acrobot": acrobot, "mountain_car": mountain_car, "pendulum": pendulum}
)
"""What makes an environment of each task in ``envs.catalogue.CONTROL``, from arguments by name."""


def make_games(task: str, n_envs: int, **arguments: Any) -> Games:
    """A batch of games of one control task, CartPole's by Gymnasium's batched physics, the others one by one.

    Args:
        task: A name in ``WORLDS``.
        n_envs: Games played side by side.
        arguments: Those of the task's function.

    Raises:
        ValueError: If the task is unknown or an argument is out of range.
    """
    check_choice("task", task, WORLDS)
    if task == "cartpole":
        return CartPoleGames(n_envs, **arguments)
    return SyncGames([partial(WORLDS[task], **arguments)] * n_envs, task)


def _shifted(
    env: gymnasium.Env[Any, Any], offset: Sequence[float] | None, episode_limit: int, reward_scale: float
) -> gymnasium.Env[Any, Any]:
    # An offset of nothing, too: the first task of a stream has the space of all that follow.
    values = np.zeros(env.observation_space.shape or ()) if offset is None else offset
    return scaled(ObservationOffset(limited(env, episode_limit), values), reward_scale)
