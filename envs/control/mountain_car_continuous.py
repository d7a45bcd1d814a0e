"""A car in a valley with a motor of any strength, MountainCarContinuous-v0."""

from types import MappingProxyType
from typing import Any

import numpy as np
from gymnasium.envs.classic_control import Continuous_MountainCarEnv

from envs.arguments import Quantity
from envs.control.base import ControlWorld
from envs.worlds import WorldSpec


class MountainCarContinuous(ControlWorld, Continuous_MountainCarEnv):
    """Gymnasium's car (the physics of MountainCarContinuous-v0, without its time limit) with its state.

    A step adds action x power - 0.0025 x cos(3 x position) to the speed and costs 0.1 x action^2; the goal gives 100.

    Args:
        power: per step, of the whole motor, above 0.
        goal_velocity: speed that the car must at least have at the goal.

    Raises:
        ValueError: an argument is out of range.
    """

    quantities = MappingProxyType(
        {
            "power": Quantity(0.0015, "give speed per step such as 0.0015", above=0),
            "goal_velocity": Quantity(0.0, "give a speed such as 0.0"),
        }
    )
    _held = ("state",)

    def set_state(self, state: dict[str, Any]) -> None:
        """As in `ControlWorld`."""
        super().set_state(state)
        # Its numbers have 64 bits before an episode's first step and 32 after it, which JSON does not tell.
        short = self.state.astype(np.float32)
        self.state = short if (short == self.state).all() else self.state


mountain_car_continuous = WorldSpec(
    "mountain_car_continuous", MountainCarContinuous, MountainCarContinuous.quantities, episode_limit=999
)
"""MountainCarContinuous-v0 with other physics; the offset is of position and speed."""
