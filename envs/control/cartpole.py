"""A pole on a cart, CartPole-v1."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from gymnasium.envs.classic_control import CartPoleEnv

from envs.arguments import Quantity
from envs.control.base import GRAVITY, MASS, ControlWorld
from envs.games import Games
from envs.worlds import WorldSpec


class CartPole(ControlWorld, CartPoleEnv):
    """Gymnasium's cart and pole (the physics of CartPole-v1, without its time limit) with their state.

    Args:
        gravity: In m/s^2; below 0 the pole falls upwards.
        length: Half of the pole's length, as Gymnasium counts it, in m, above 0.
        masscart: In kg, above 0.
        masspole: In kg, above 0.
        force_mag: The force that either action puts on the cart, in N, above 0.

    Raises:
        ValueError: If an argument is out of range.
    """

    quantities = MappingProxyType(
        {
            "gravity": GRAVITY,
            "length": Quantity(0.5, "give half of the pole's length in metres, such as 0.5", above=0),
            "masscart": MASS,
            "masspole": replace(MASS, default=0.1),
            "force_mag": Quantity(10.0, "give newtons such as 10.0", above=0),
        }
    )
    _held = ("state", "steps_beyond_terminated")

    def _apply_physics(self) -> None:
        apply_cartpole(self, self.physics)


def apply_cartpole(world: Any, physics: Mapping[str, Any]) -> None:
    """Give a cart and pole of Gymnasium, single or a batch, these physics and what follows from them."""
    for name, value in physics.items():
        setattr(world, name, value)
    world.total_mass = world.masspole + world.masscart
    world.polemass_length = world.masspole * world.length


def _batch(n_envs: int, **arguments: Any) -> Games:
    from envs.control.games import CartPoleGames

    return CartPoleGames(n_envs, **arguments)


cartpole = WorldSpec("cartpole", CartPole, CartPole.quantities, episode_limit=500, batch=_batch)
"""CartPole-v1 with other physics; the offset is of cart position in m and speed, pole angle in rad and speed."""
