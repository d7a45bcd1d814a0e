"""MuJoCo: Gymnasium's walking robots, with what a stream of tasks changes as arguments, and with their state.

Friction and gravity are absolute, as in SlipperyAnt (Dohare et al., Nature 2024, arXiv 2306.13812: an Ant whose
friction is drawn anew every 2,000,000 steps, log-uniform from 0.02 to 2), masses are factors on the model's own. The
extra ``mujoco`` brings what this needs, and nothing of it is imported before a world is made.
"""

from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import Any

import gymnasium
from gymnasium.error import DependencyNotInstalled

from envs.arguments import Quantity
from envs.worlds import WorldSpec

PHYSICS = MappingProxyType(
    {
        "friction": Quantity(None, "give a coefficient such as 1.0", above=0, optional=True),
        "gravity": Quantity(9.81, "give m/s^2, downwards, such as 9.81", minimum=0),
        "mass": Quantity(1.0, "give a factor on the model's masses such as 1.0", above=0),
        "stiffness": Quantity(None, "give a number such as 1.0", minimum=0, optional=True),
    }
)
"""See ``envs.mujoco.robots.Robot``."""


def _robot(name: str, **arguments: Any) -> gymnasium.Env[Any, Any]:
    try:
        env: gymnasium.Env[Any, Any] = getattr(import_module("envs.mujoco.robots"), name)(**arguments)
    except (ImportError, DependencyNotInstalled) as error:
        raise ImportError(
            f"{name} needs mujoco and imageio, which cannot be imported ({error}); run pip install -e '.[mujoco]'"
        ) from error
    return env


def _world(name: str, robot: str) -> WorldSpec:
    return WorldSpec(name, partial(_robot, robot), PHYSICS, episode_limit=1000, offset="none")


ant = _world("ant", "Ant")
halfcheetah = _world("halfcheetah", "HalfCheetah")
hopper = _world("hopper", "Hopper")
walker2d = _world("walker2d", "Walker2d")
