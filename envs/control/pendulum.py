"""A pole that a torque swings up, Pendulum-v1."""

from types import MappingProxyType

from gymnasium.envs.classic_control import PendulumEnv

from envs.arguments import Quantity
from envs.control.base import LENGTH, MASS, ControlWorld
from envs.worlds import WorldSpec


class Pendulum(ControlWorld, PendulumEnv):
    """Gymnasium's pendulum (the physics of Pendulum-v1, without its time limit) with its state.

    angle'' = 3 gravity / (2 length) sin(angle) + 3 torque / (mass length^2). The largest torque, 2 N m, holds the pole
    at any angle where it is at least mass x gravity x length / 2; below that the pole must be swung up.

    Args:
        gravity: in m/s^2; below 0 the pendulum hangs upwards.
        length: of the pole, in m, above 0.
        mass: of the pole, in kg, above 0.

    Raises:
        ValueError: an argument is out of range.
    """

    quantities = MappingProxyType(
        {"gravity": Quantity(10.0, "give m/s^2 such as 10.0"), "length": LENGTH, "mass": MASS}
    )
    _held = ("state", "last_u")

    def _apply_physics(self) -> None:
        self.g, self.l, self.m = self.physics["gravity"], self.physics["length"], self.physics["mass"]


pendulum = WorldSpec("pendulum", Pendulum, Pendulum.quantities, episode_limit=200, offset="given")
"""Pendulum-v1 with other physics; the offset is of cosine and sine of the angle and of the speed in rad/s.

A stream that shifts some tasks gives the others an offset of zeros.
"""
