"""What the base classes leave to the shifts."""

import gymnasium
import pytest
from shifted import Rewarding

from envs.shifts.base import Arguments, Observing
from envs.state import Layer


def test_a_layer_says_what_it_holds() -> None:
    layer = Layer(Rewarding())
    with pytest.raises(NotImplementedError):
        layer.get_state()
    with pytest.raises(NotImplementedError):
        layer.set_state({})


def test_a_shift_says_what_it_takes_and_does() -> None:
    space = gymnasium.spaces.Discrete(2)
    with pytest.raises(NotImplementedError):
        Arguments()._begin(space, space, {})
    with pytest.raises(NotImplementedError):
        Observing()._space()
