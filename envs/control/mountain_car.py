"""A car in a valley, MountainCar-v0."""

from types import MappingProxyType

from gymnasium.envs.classic_control import MountainCarEnv

from envs.arguments import Quantity
from envs.control.base import ControlWorld
from envs.worlds import WorldSpec


class MountainCar(ControlWorld, MountainCarEnv):
    """Gymnasium's car in a valley (the physics of MountainCar-v0, without its time limit) with its state.

    A step adds (action - 1) x force - gravity x cos(3 x position) to the speed.

    Args:
        gravity: per step, any number; below 0 the valley pushes the car up its sides.
        force: per step, above 0.
        goal_velocity: speed that the car must at least have at the goal.

    Raises:
        ValueError: an argument is out of range.
    """

    quantities = MappingProxyType(
        {
            "gravity": Quantity(0.0025, "give speed per step such as 0.0025"),
            "force": Quantity(0.001, "give speed per step such as 0.001", above=0),
            "goal_velocity": Quantity(0.0, "give a speed such as 0.0"),
        }
    )
    _held = ("state",)


mountain_car = WorldSpec(
    "mountain_car", MountainCar, MountainCar.quantities, episode_limit=200, action_meanings=("left", "noop", "right")
)
"""MountainCar-v0 with other physics; the offset is of position and speed."""
