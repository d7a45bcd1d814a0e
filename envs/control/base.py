"""What Gymnasium's control tasks share: physics as arguments, which may change during play, and a state."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled

from envs.arguments import Configurable, Quantity, check_render_mode, defaults, require_render_mode
from envs.state import copied, random_state, restore_random

GRAVITY = Quantity(9.8, "give m/s^2 such as 9.8")
LENGTH = Quantity(1.0, "give metres such as 1.0", above=0)
MASS = Quantity(1.0, "give kilograms such as 1.0", above=0)


@contextmanager
def naming_pygame(world: str) -> Iterator[None]:
    """Say how to install what draws ``world`` where it is missing."""
    try:
        yield
    except DependencyNotInstalled as error:
        raise ImportError(
            f"{world} is drawn with pygame, which is not installed; run pip install -e '.[video]'"
        ) from error


class ControlWorld(Configurable, gymnasium.Env[Any, Any]):
    """Gymnasium's env with its state: ``_held`` are the attributes that change from step to step.

    Args:
        render_mode: None, "rgb_array" or "human".
        **physics: As in ``quantities``.

    Raises:
        ValueError: an argument is unknown or out of range.
    """

    _held: ClassVar[tuple[str, ...]]

    def __init__(self, *, render_mode: str | None = None, **physics: Any) -> None:
        # The environment's own comes after this class.
        super().__init__(render_mode=check_render_mode(render_mode, self.metadata["render_modes"]))  # type: ignore[call-arg]
        self.configure(**defaults(self.quantities) | physics)

    def _apply_physics(self) -> None:
        for name, value in self.physics.items():
            setattr(self, name, value)

    def render(self) -> Any:
        """A frame, uint8 of shape (height, width, 3), with render_mode "rgb_array".

        Raises:
            ValueError: the env was made without a render_mode.
            ImportError: pygame is missing.
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
            **random_state(self),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``get_state`` returned, under the physics that it was saved with.

        Raises:
            ValueError: the state is of another world.
        """
        if state["world"] != type(self).__name__:
            raise ValueError(
                f"a state of {state['world']} cannot be set on {type(self).__name__}; make the world that it is of"
            )
        self.configure(**state["physics"])
        for name, value in state["variables"].items():
            setattr(self, name, _plain(value))
        restore_random(self, state)


def _plain(value: Any) -> Any:
    # A mountain car's state is a tuple or an array, and an array that has come through JSON a list.
    return np.array(value) if isinstance(value, tuple | list) else copied(value)
