"""DeepMind Control (Tassa et al., arXiv 1801.00690): bodies in MuJoCo with tasks of their own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from envs.catalogue import DMC
from envs.checks import check_choice, check_int
from envs.pool.games import LARGEST, PoolGames, numbers
from envs.pool.worlds import worlds

_ARM = ("arm_pos", "arm_vel", "touch", "hand_pos")
_HUMANOID = ("joint_angles", "head_height", "extremities", "torso_vertical", "com_velocity")
_DOG = (
    "joint_angles", "joint_velocites", "torso_pelvis_height", "z_projection", "torso_com_velocity", "inertial_sensors",
    "foot_forces", "touch_sensors", "actuator_state",
)  # fmt: skip
_QUADRUPED = ("egocentric_state", "torso_velocity", "torso_upright", "imu", "force_torque")

FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "acrobot": ("orientations", "velocity"),
        "ball_in_cup": ("position", "velocity"),
        "cartpole": ("position", "velocity"),
        "cheetah": ("position", "velocity"),
        "dog": _DOG,
        "dog-fetch": (*_DOG, "ball_state", "target_position"),
        "finger": ("position", "velocity", "touch", "target_position", "dist_to_target"),
        "finger-spin": ("position", "velocity", "touch"),
        "fish": ("joint_angles", "upright", "target", "velocity"),
        "fish-upright": ("joint_angles", "upright", "velocity"),
        "hopper": ("position", "velocity", "touch"),
        "humanoid": (*_HUMANOID, "velocity"),
        "humanoid-run_pure_state": ("position", "velocity"),
        "humanoid_CMU": (*_HUMANOID, "velocity"),
        "manipulator": (*_ARM, "object_pos", "object_vel", "target_pos"),
        "pendulum": ("orientation", "velocity"),
        "point_mass": ("position", "velocity"),
        "quadruped": _QUADRUPED,
        "quadruped-escape": (*_QUADRUPED, "origin", "rangefinder"),
        "quadruped-fetch": (*_QUADRUPED, "ball_state", "target_position"),
        "reacher": ("position", "to_target", "velocity"),
        "stacker": (*_ARM, "box_pos", "box_vel", "target_pos"),
        "swimmer": ("joints", "to_target", "body_velocities"),
        "walker": ("orientations", "height", "velocity"),
    }
)
"""Body, or task where that is named -> what dm_control observes of it, in the order in which it stands in the vector.

Envpool's observations of a task have what any task of the body observes; the rest is left out.
"""


class DMCGames(PoolGames):
    """Games of the DeepMind Control suite, as envpool plays them.

    Observations are vectors of float32, what dm_control observes in the order of ``FIELDS``; actions are numbers
    between the bounds of the action space, which the simulator keeps to. A reward is from 0 to 1. Episodes do not end
    by themselves: they are truncated after ``episode_limit`` steps. A step is one of control, as in dm_control; the
    shift ``frame_skip`` repeats actions.

    Args:
        task: one of ``envs.catalogue.DMC``, such as "dmc/walker-walk".
        n_envs: games played side by side.
        episode_limit: steps after which an episode is truncated.
        render_mode: None.

    Raises:
        ImportError: envpool is not installed, or cannot be imported.
        ValueError: an argument is out of range.
    """

    suite = "DeepMind Control"
    metadata = PoolGames.metadata | {"render_modes": []}

    def __init__(self, task: str, n_envs: int, *, episode_limit: int = 1000, render_mode: str | None = None) -> None:
        name = check_choice("a task of DeepMind Control", task, DMC).removeprefix("dmc/")
        body, _, aim = name.partition("-")
        limit = check_int("episode_limit", episode_limit, 1, "give a number of steps such as 1000", maximum=LARGEST)
        self._fields = FIELDS[name] if name in FIELDS else FIELDS[body]
        id = f"{_joined(body)}{_joined(aim)}-v1"
        super().__init__(task, n_envs, id, {"max_episode_steps": limit}, render_mode=render_mode, episode_limit=limit)

    def _observed_space(self, space: Any) -> Box:
        return numbers(sum(int(np.prod(space[field].shape)) for field in self._fields))

    def _observed(self, seen: Any) -> NDArray[np.float32]:
        columns = [seen[field].reshape(len(seen[field]), -1) for field in self._fields]
        return np.concatenate(columns, axis=1, dtype=np.float32)


def _joined(name: str) -> str:
    """A name of dm_control's as envpool has it in its ids."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


__getattr__ = worlds(DMC, DMCGames)
