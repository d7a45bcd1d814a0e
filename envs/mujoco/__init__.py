"""MuJoCo: Gymnasium's walking robots, with what a stream of tasks changes as arguments, and with their state.

Friction and gravity are absolute, as in SlipperyAnt (Dohare et al., Nature 2024, arXiv 2306.13812: an Ant whose
friction is drawn anew every 2,000,000 steps, log-uniform from 0.02 to 2), masses are factors on the model's own. The
extra ``mujoco`` brings what this needs, and nothing of it is imported before a world is made.
"""

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import Any

import gymnasium
from gymnasium.error import DependencyNotInstalled

from envs.arguments import limited, scaled
from envs.checks import check_choice
from envs.games import Games, SyncGames

__all__ = ["WORLDS", "ant", "halfcheetah", "hopper", "make_games", "walker2d"]


def ant(
    *,
    friction: float | None = None,
    gravity: float = 9.81,
    mass: float = 1.0,
    stiffness: float | None = None,
    episode_limit: int = 1000,
    reward_scale: float = 1.0,
    render_mode: str | None = None,
) -> gymnasium.Env[Any, Any]:
    """Ant-v5 with other physics.

    Args:
        friction: Sliding friction of every contact, above 0; None keeps the model's own, 1.
        gravity: Downwards, in m/s^2, at least 0.
        mass: Factor on all masses and moments of inertia, above 0.
        stiffness: Of a spring in every driven joint, in N m/rad, at least 0; None keeps the model's own, which has
            none.
        episode_limit: Steps after which an unfinished episode is truncated.
        reward_scale: Factor on rewards, above 0; where it is not 1, an episode's last info has ``unscaled_return``.
        render_mode: None, "rgb_array" or "human".

    Raises:
        ValueError: If an argument is out of range.
        ImportError: If MuJoCo is not installed.
    """
    return _world("Ant", (friction, gravity, mass, stiffness, render_mode), episode_limit, reward_scale)


def halfcheetah(
    *,
    friction: float | None = None,
    gravity: float = 9.81,
    mass: float = 1.0,
    stiffness: float | None = None,
    episode_limit: int = 1000,
    reward_scale: float = 1.0,
    render_mode: str | None = None,
) -> gymnasium.Env[Any, Any]:
    """HalfCheetah-v5 with other physics.

    Args:
        friction: Sliding friction of every contact, above 0; None keeps the model's own, 0.4.
        gravity: Downwards, in m/s^2, at least 0.
        mass: Factor on all masses and moments of inertia, above 0.
        stiffness: Factor on the springs of the joints, which are of 60 to 240 N m/rad, at least 0; None keeps the
            model's own, as 1 does.
        episode_limit: Steps after which an episode is truncated; it has no other end.
        reward_scale: Factor on rewards, above 0; where it is not 1, an episode's last info has ``unscaled_return``.
        render_mode: None, "rgb_array" or "human".

    Raises:
        ValueError: If an argument is out of range.
        ImportError: If MuJoCo is not installed.
    """
    return _world("HalfCheetah", (friction, gravity, mass, stiffness, render_mode), episode_limit, reward_scale)


def hopper(
    *,
    friction: float | None = None,
    gravity: float = 9.81,
    mass: float = 1.0,
    stiffness: float | None = None,
    episode_limit: int = 1000,
    reward_scale: float = 1.0,
    render_mode: str | None = None,
) -> gymnasium.Env[Any, Any]:
    """Hopper-v5 with other physics.

    Args:
        friction: Sliding friction of every contact with the floor, above 0; None keeps the model's own, 2 of the foot
            and 1 of the rest.
        gravity: Downwards, in m/s^2, at least 0.
        mass: Factor on all masses and moments of inertia, above 0.
        stiffness: Of a spring in every driven joint, in N m/rad, at least 0; None keeps the model's own, which has
            none.
        episode_limit: Steps after which an unfinished episode is truncated.
        reward_scale: Factor on rewards, above 0; where it is not 1, an episode's last info has ``unscaled_return``.
        render_mode: None, "rgb_array" or "human".

    Raises:
        ValueError: If an argument is out of range.
        ImportError: If MuJoCo is not installed.
    """
    return _world("Hopper", (friction, gravity, mass, stiffness, render_mode), episode_limit, reward_scale)


def walker2d(
    *,
    friction: float | None = None,
    gravity: float = 9.81,
    mass: float = 1.0,
    stiffness: float | None = None,
    episode_limit: int = 1000,
    reward_scale: float = 1.0,
    render_mode: str | None = None,
) -> gymnasium.Env[Any, Any]:
    """Walker2d-v5 with other physics.

    Args:
        friction: Sliding friction of every contact, above 0; None keeps the model's own, 1.9 of the feet and 0.9 of
            the rest.
        gravity: Downwards, in m/s^2, at least 0.
        mass: Factor on all masses and moments of inertia, above 0.
        stiffness: Of a spring in every driven joint, in N m/rad, at least 0; None keeps the model's own, which has
            none.
        episode_limit: Steps after which an unfinished episode is truncated.
        reward_scale: Factor on rewards, above 0; where it is not 1, an episode's last info has ``unscaled_return``.
        render_mode: None, "rgb_array" or "human".

    Raises:
        ValueError: If an argument is out of range.
        ImportError: If MuJoCo is not installed.
    """
    return _world("Walker2d", (friction, gravity, mass, stiffness, render_mode), episode_limit, reward_scale)


WORLDS: Mapping[str, Callable[..., gymnasium.Env[Any, Any]]] = MappingProxyType(
    {"ant": ant, "halfcheetah": halfcheetah, "hopper": hopper, "walker2d": walker2d}
)
"""What makes an environment of each task in ``envs.catalogue.MUJOCO``, from arguments by name."""


def make_games(task: str, n_envs: int, **arguments: Any) -> Games:
    """A batch of games of one MuJoCo task, one by one.

    Args:
        task: A name in ``WORLDS``.
        n_envs: Games played side by side.
        arguments: Those of the task's function.

    Raises:
        ValueError: If the task is unknown or an argument is out of range.
        ImportError: If MuJoCo is not installed.
    """
    check_choice("task", task, WORLDS)
    return SyncGames([partial(WORLDS[task], **arguments)] * n_envs, task)


def _world(robot: str, physics: tuple[Any, ...], episode_limit: int, reward_scale: float) -> gymnasium.Env[Any, Any]:
    try:
        env = getattr(import_module("envs.mujoco.robots"), robot)(*physics)
    except (ImportError, DependencyNotInstalled) as error:
        raise ImportError(
            f"{robot} needs mujoco and imageio, which cannot be imported ({error}); run pip install -e '.[mujoco]'"
        ) from error
    return scaled(limited(env, episode_limit), reward_scale)
