"""Arguments that worlds share."""

from typing import Any

import gymnasium
import pytest
from gymnasium.wrappers import TimeLimit

from envs.arguments import Configurable, Quantity, checked_physics, limited

QUANTITIES = {
    "gravity": Quantity(9.8, "give m/s^2", minimum=0),
    "mass": Quantity(1.0, "give kilograms", above=0),
    "friction": Quantity(None, "give a coefficient", above=0, optional=True),
}


class _World(Configurable):
    quantities = QUANTITIES
    applied = 0

    def _apply_physics(self) -> None:
        self.applied += 1


def test_values_are_numbers() -> None:
    assert checked_physics(QUANTITIES, {"gravity": 0, "friction": None}, "World") == {"gravity": 0.0, "friction": None}
    assert type(checked_physics(QUANTITIES, {"mass": 2}, "World")["mass"]) is float


def test_what_is_not_named_stays() -> None:
    world, other = _World(), _World()
    world.configure(gravity=1, mass=2)
    world.configure(mass=3)
    assert (world.physics, world.applied) == ({"gravity": 1.0, "mass": 3.0}, 2)
    assert (dict(other.physics), other.applied) == ({}, 0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mass": 0}, "mass must be a finite number above 0, got 0; give kilograms"),
        ({"gravity": -0.5}, "gravity must be a finite number of at least 0, got -0.5; give m/s^2"),
        ({"mass": None}, "mass must be a finite number above 0, got None; give kilograms"),
        ({"friction": 0}, "friction must be a finite number above 0, got 0; give a coefficient"),
        (
            {"mas": 1},
            "_World cannot change 'mas' while it is played, only gravity, mass, friction; did you mean 'mass'?",
        ),
        ({"x": 1}, "_World cannot change 'x' while it is played, only gravity, mass, friction; leave it out"),
    ],
)
def test_refusals_leave_all_as_it_was(parameters: dict[str, Any], message: str) -> None:
    world = _World()
    world.configure(gravity=1, mass=2)
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the message is compared below)
        world.configure(**{"gravity": 5.0} | parameters)
    assert str(refusal.value) == message
    assert (world.physics, world.applied) == ({"gravity": 1.0, "mass": 2.0}, 1)


def test_limit() -> None:
    env = gymnasium.make("CartPole-v1").unwrapped
    limit = limited(env, 7)
    assert isinstance(limit, TimeLimit)
    assert limit._max_episode_steps == 7
