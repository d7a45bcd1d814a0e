"""Two links of which one hangs from a fixed joint, Acrobot-v1."""

from types import MappingProxyType
from typing import Any

import numpy as np
from gymnasium.envs.classic_control import AcrobotEnv
from numpy.typing import NDArray

from envs.control.base import GRAVITY, LENGTH, MASS, ControlWorld
from envs.worlds import WorldSpec


class Acrobot(ControlWorld, AcrobotEnv):
    """Gymnasium's acrobot (the physics of Acrobot-v1, without its time limit) with its state.

    The centre of a link's mass is in its middle. The links' moments of inertia stay Gymnasium's 1 kg m^2, and the goal
    stays a matter of the angles alone: -cos(first) - cos(first + second) > 1.

    Args:
        gravity: in m/s^2; below 0 the links fall upwards.
        length_1: of the link that hangs from the fixed joint, in m, above 0.
        length_2: of the other link, in m, above 0.
        mass_1: of the first link, in kg, above 0.
        mass_2: of the second link, in kg, above 0.

    Raises:
        ValueError: an argument is out of range.
    """

    quantities = MappingProxyType(
        {"gravity": GRAVITY, "length_1": LENGTH, "length_2": LENGTH, "mass_1": MASS, "mass_2": MASS}
    )
    _held = ("state",)
    _GRAVITY_OF_GYMNASIUM = 9.8  # a constant inside its equations

    def _apply_physics(self) -> None:
        self.LINK_LENGTH_1, self.LINK_LENGTH_2 = self.physics["length_1"], self.physics["length_2"]
        self.LINK_COM_POS_1, self.LINK_COM_POS_2 = self.LINK_LENGTH_1 / 2, self.LINK_LENGTH_2 / 2
        self.LINK_MASS_1, self.LINK_MASS_2 = self.physics["mass_1"], self.physics["mass_2"]

    def _dsdt(self, s_augmented: NDArray[np.float64]) -> Any:
        """The derivative of angles and speeds, of which Gymnasium's gravity is scaled to this world's.

        Accelerations are linear in gravity. Turning the whole acrobot by pi changes the sign of gravity's share and
        nothing else, so that Gymnasium's own equations tell the two shares apart.
        """
        of_gymnasium: Any = super()._dsdt
        derivative = of_gymnasium(s_augmented)
        scale = self.physics["gravity"] / self._GRAVITY_OF_GYMNASIUM
        if scale == 1:
            return derivative
        turned = s_augmented.copy()
        turned[0] += np.pi
        return tuple(
            (one + other) / 2 + scale * (one - other) / 2
            for one, other in zip(derivative, of_gymnasium(turned), strict=True)
        )


acrobot = WorldSpec(
    "acrobot",
    Acrobot,
    Acrobot.quantities,
    episode_limit=500,
    action_meanings=("negative torque", "noop", "positive torque"),
)
"""Acrobot-v1 with other physics; the offset: cosine and sine of both joints' angles, both speeds in rad/s."""
