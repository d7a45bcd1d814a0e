"""Gymnasium's classic control with its physics as arguments, which may change during play, and with its state."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.envs.classic_control import AcrobotEnv, CartPoleEnv, MountainCarEnv, PendulumEnv
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from envs.arguments import Configurable, Quantity, check_render_mode, require_render_mode
from envs.state import plain

_GRAVITY = Quantity("give m/s^2 such as 9.8")
_LENGTH = Quantity("give metres such as 1.0", above=0)
_MASS = Quantity("give kilograms such as 1.0", above=0)


@contextmanager
def naming_pygame(world: str) -> Iterator[None]:
    """Say how to install what draws ``world`` where it is missing."""
    try:
        yield
    except DependencyNotInstalled as error:
        raise ImportError(
            f"{world} is drawn with pygame, which is not installed; run pip install -e '.[video]'"
        ) from error


class _Saved(Configurable, gymnasium.Env[Any, Any]):
    """Gymnasium's env with its state: ``_held`` are the attributes that change from step to step."""

    _held: ClassVar[tuple[str, ...]]

    def render(self) -> Any:
        """A frame, uint8 of shape (height, width, 3), with render_mode "rgb_array".

        Raises:
            ValueError: If the env was made without a render_mode.
            ImportError: If pygame is missing.
        """
        require_render_mode(self)
        with naming_pygame(type(self).__name__):
            return super().render()

    def get_state(self) -> dict[str, Any]:
        """All that decides the future of this env, as copies: arrays, numbers, text, lists and dicts of these."""
        return {
            "world": type(self).__name__,
            "physics": dict(self.physics),
            "variables": {name: _plain(getattr(self, name)) for name in self._held},
            "np_random": plain(self.np_random.bit_generator.state),
            "np_random_seed": self.np_random_seed,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``get_state`` returned, under the physics that it was saved with.

        Raises:
            ValueError: If the state is of another world.
        """
        if state["world"] != type(self).__name__:
            raise ValueError(
                f"a state of {state['world']} cannot be set on {type(self).__name__}; make the world that it is of"
            )
        self.configure(**state["physics"])
        for name, value in state["variables"].items():
            setattr(self, name, _plain(value))
        self.np_random.bit_generator.state = state["np_random"]
        self._np_random_seed = state["np_random_seed"]


def _plain(value: Any) -> Any:
    # A mountain car's state is a tuple or an array, and an array that has come through JSON a list.
    return np.array(value) if isinstance(value, tuple | list) else plain(value)


class CartPole(_Saved, CartPoleEnv):
    """Gymnasium's cart and pole (the physics of CartPole-v1, without its time limit) with their state.

    Args:
        gravity: In m/s^2; below 0 the pole falls upwards.
        length: Half of the pole's length, as Gymnasium counts it, in m, above 0.
        masscart: In kg, above 0.
        masspole: In kg, above 0.
        force_mag: The force that either action puts on the cart, in N, above 0.
        render_mode: None, "rgb_array" or "human".

    Raises:
        ValueError: If an argument is out of range.
    """

    quantities = MappingProxyType(
        {
            "gravity": _GRAVITY,
            "length": Quantity("give half of the pole's length in metres, such as 0.5", above=0),
            "masscart": _MASS,
            "masspole": _MASS,
            "force_mag": Quantity("give newtons such as 10.0", above=0),
        }
    )
    _held = ("state", "steps_beyond_terminated")

    def __init__(
        self,
        gravity: float = 9.8,
        length: float = 0.5,
        masscart: float = 1.0,
        masspole: float = 0.1,
        force_mag: float = 10.0,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode=check_render_mode(render_mode, self.metadata["render_modes"]))
        self.configure(gravity=gravity, length=length, masscart=masscart, masspole=masspole, force_mag=force_mag)

    def _apply_physics(self) -> None:
        apply_cartpole(self, self.physics)


def apply_cartpole(world: Any, physics: Mapping[str, Any]) -> None:
    """Give a cart and pole of Gymnasium, single or a batch, these physics and what follows from them."""
    for name, value in physics.items():
        setattr(world, name, value)
    world.total_mass = world.masspole + world.masscart
    world.polemass_length = world.masspole * world.length


class Acrobot(_Saved, AcrobotEnv):
    """Gymnasium's acrobot (the physics of Acrobot-v1, without its time limit) with its state.

    The centre of a link's mass is in its middle. The links' moments of inertia stay Gymnasium's 1 kg m^2, and the goal
    stays a matter of the angles alone: -cos(first) - cos(first + second) > 1.

    Args:
        gravity: In m/s^2; below 0 the links fall upwards.
        length_1: Of the link that hangs from the fixed joint, in m, above 0.
        length_2: Of the other link, in m, above 0.
        mass_1: Of the first link, in kg, above 0.
        mass_2: Of the second link, in kg, above 0.
        render_mode: None, "rgb_array" or "human".

    Raises:
        ValueError: If an argument is out of range.
    """

    quantities = MappingProxyType(
        {"gravity": _GRAVITY, "length_1": _LENGTH, "length_2": _LENGTH, "mass_1": _MASS, "mass_2": _MASS}
    )
    _held = ("state",)
    _GRAVITY_OF_GYMNASIUM = 9.8  # a constant inside its equations

    def __init__(
        self,
        gravity: float = 9.8,
        length_1: float = 1.0,
        length_2: float = 1.0,
        mass_1: float = 1.0,
        mass_2: float = 1.0,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode=check_render_mode(render_mode, self.metadata["render_modes"]))
        self.configure(gravity=gravity, length_1=length_1, length_2=length_2, mass_1=mass_1, mass_2=mass_2)

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


class MountainCar(_Saved, MountainCarEnv):
    """Gymnasium's car in a valley (the physics of MountainCar-v0, without its time limit) with its state.

    A step adds (action - 1) x force - gravity x cos(3 x position) to the speed.

    Args:
        gravity: Per step, any number; below 0 the valley pushes the car up its sides.
        force: Per step, above 0.
        goal_velocity: Speed that the car must at least have at the goal.
        render_mode: None, "rgb_array" or "human".

    Raises:
        ValueError: If an argument is out of range.
    """

    quantities = MappingProxyType(
        {
            "gravity": Quantity("give speed per step such as 0.0025"),
            "force": Quantity("give speed per step such as 0.001", above=0),
            "goal_velocity": Quantity("give a speed such as 0.0"),
        }
    )
    _held = ("state",)

    def __init__(
        self,
        gravity: float = 0.0025,
        force: float = 0.001,
        goal_velocity: float = 0.0,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode=check_render_mode(render_mode, self.metadata["render_modes"]))
        self.configure(gravity=gravity, force=force, goal_velocity=goal_velocity)

    def _apply_physics(self) -> None:
        for name, value in self.physics.items():
            setattr(self, name, value)


class Pendulum(_Saved, PendulumEnv):
    """Gymnasium's pendulum (the physics of Pendulum-v1, without its time limit) with its state.

    Args:
        gravity: In m/s^2; below 0 the pendulum hangs upwards.
        length: Of the pole, in m, above 0.
        mass: Of the pole, in kg, above 0.
        render_mode: None, "rgb_array" or "human".

    Raises:
        ValueError: If an argument is out of range.
    """

    quantities = MappingProxyType({"gravity": Quantity("give m/s^2 such as 10.0"), "length": _LENGTH, "mass": _MASS})
    _held = ("state", "last_u")

    def __init__(
        self, gravity: float = 10.0, length: float = 1.0, mass: float = 1.0, render_mode: str | None = None
    ) -> None:
        super().__init__(render_mode=check_render_mode(render_mode, self.metadata["render_modes"]))
        self.configure(gravity=gravity, length=length, mass=mass)

    def _apply_physics(self) -> None:
        self.g, self.l, self.m = self.physics["gravity"], self.physics["length"], self.physics["mass"]
