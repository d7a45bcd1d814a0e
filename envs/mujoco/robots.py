"""Gymnasium's walking robots with their physics as arguments, which may change during play, and with their state."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import mujoco
import numpy as np
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv
from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from envs.arguments import Configurable, check_render_mode, defaults, require_render_mode
from envs.mujoco import PHYSICS
from envs.state import random_state, restore_random

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


@contextmanager
def _without_deprecations() -> Iterator[None]:
    """Keep MuJoCo from printing, and logging into the working directory, that Gymnasium's models are of an old form."""
    said: list[str] = []
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(said.append)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)
    for text in said:
        if "is deprecated" not in text:
            warnings.warn(text, RuntimeWarning, stacklevel=4)


class Robot(Configurable, MujocoEnv, EzPickle):
    """A robot of Gymnasium, version 5, without its time limit.

    Args:
        friction: sliding friction of every surface, above 0, and so of every contact; None keeps the model's own.
            Where two surfaces meet MuJoCo takes the larger of their frictions, and 1e-5 where that is less.
        gravity: downwards, in m/s^2, at least 0.
        mass: factor on the masses and moments of inertia of all bodies, above 0.
        stiffness: at least 0. Of a model with springs in its joints, the factor on them; of one without, the stiffness
            of a spring in every driven joint towards the pose of zeros, in N m/rad. None keeps the model's own.
        render_mode: None, "rgb_array" or another of Gymnasium's.

    Raises:
        ValueError: an argument is out of range.
    """

    quantities = PHYSICS
    _arrays: ClassVar[tuple[str, ...]] = ("geom_friction", "body_mass", "body_inertia", "jnt_stiffness")

    def __init__(self, *, render_mode: str | None = None, **physics: Any) -> None:
        make: Any = super().__init__  # the robot's own, which has no further argument that is needed
        with _without_deprecations():
            make(render_mode=check_render_mode(render_mode, self.metadata["render_modes"]))
        # Copies are made with these arguments, not with those of Gymnasium's classes.
        EzPickle.__init__(self, render_mode=render_mode, **physics)
        self._own = {name: getattr(self.model, name).copy() for name in self._arrays}
        self._scratch = mujoco.MjData(self.model)
        self.configure(**defaults(PHYSICS) | physics)

    def _apply_physics(self) -> None:
        model, own, physics = self.model, self._own, self.physics
        friction, stiffness = physics["friction"], physics["stiffness"]
        model.geom_friction[:, 0] = own["geom_friction"][:, 0] if friction is None else friction
        model.opt.gravity[2] = -physics["gravity"]
        model.jnt_stiffness[:] = own["jnt_stiffness"]
        if stiffness is not None:
            if own["jnt_stiffness"].any():
                model.jnt_stiffness *= stiffness
            else:
                model.jnt_stiffness[model.actuator_trnid[:, 0]] = stiffness
        masses = own["body_mass"] * physics["mass"]
        if not np.array_equal(masses, model.body_mass):
            model.body_mass[:] = masses
            model.body_inertia[:] = own["body_inertia"] * physics["mass"]
            # What follows from masses is worked out in data of its own, because the pose is changed there.
            mujoco.mj_setConst(model, self._scratch)

    def render(self) -> Any:
        """A frame, uint8 of shape (480, 480, 3), with render_mode "rgb_array".

        Raises:
            ValueError: the env was made without a render_mode.
            RuntimeError: there is nothing that draws.
        """
        require_render_mode(self)
        draw: Any = super().render
        try:
            return draw()
        except Exception as error:  # each way of drawing fails in a way of its own
            raise RuntimeError(
                f"{type(self).__name__} cannot be drawn ({type(error).__name__}: {error}); without a display set "
                "MUJOCO_GL=egl, or MUJOCO_GL=osmesa and install libosmesa6"
            ) from error

    def get_state(self) -> dict[str, Any]:
        """All that decides the future of this env, as copies: arrays, numbers, text, lists and dicts of these."""
        state = np.empty(mujoco.mj_stateSize(self.model, _STATE))
        mujoco.mj_getState(self.model, self.data, state, _STATE)
        return {
            "world": type(self).__name__,
            "physics": dict(self.physics),
            "mujoco": state,
            # Positions of the bodies are those of the last substep's beginning, and Ant's reward counts from there.
            "xpos": self.data.xpos.copy(),
            **random_state(self),
        }

    def set_state(self, state: Any, velocities: NDArray[np.float64] | None = None) -> None:
        """Go on from what ``get_state`` returned, under the physics that it was saved with.

        Gymnasium's own ``reset`` calls this with positions and velocities of the joints instead.

        Raises:
            ValueError: the state is of another world, or of another version of MuJoCo whose state differs.
        """
        if velocities is not None:
            place: Any = super().set_state
            place(state, velocities)
            return
        numbers = mujoco.mj_stateSize(self.model, _STATE)
        if (state["world"], len(state["mujoco"])) != (type(self).__name__, numbers):
            raise ValueError(
                f"a state of {state['world']} with {len(state['mujoco'])} numbers cannot be set on "
                f"{type(self).__name__} with {numbers}; make the world that it is of, with the same version of MuJoCo"
            )
        self.configure(**state["physics"])
        saved = np.asarray(state["mujoco"])
        mujoco.mj_setState(self.model, self.data, saved, _STATE)
        mujoco.mj_forward(self.model, self.data)  # what is drawn; it moves where the solver starts from
        mujoco.mj_setState(self.model, self.data, saved, _STATE)
        self.data.xpos[:] = state["xpos"]
        restore_random(self, state)


class Ant(Robot, AntEnv):
    """Gymnasium's four-legged ant (Ant-v5): friction 1, no springs."""


class HalfCheetah(Robot, HalfCheetahEnv):
    """Gymnasium's running cheetah in the plane (HalfCheetah-v5): friction 0.4, springs of 60 to 240 N m/rad."""


class Hopper(Robot, HopperEnv):
    """Gymnasium's one-legged hopper (Hopper-v5): friction of the foot 2, no springs."""


class Walker2d(Robot, Walker2dEnv):
    """Gymnasium's two-legged walker in the plane (Walker2d-v5): friction of the feet 1.9, no springs."""
