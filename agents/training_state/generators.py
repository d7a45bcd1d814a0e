"""The generators that training draws from."""

from __future__ import annotations

import random

import numpy as np
import torch

from agents.learner import LearnerMixin
from agents.training_state.state import State


def random_state(model: LearnerMixin) -> State:
    """Every generator that training draws from."""
    # Of a GPU that it does not learn on nothing is drawn, and asking would begin to use that.
    cuda = [torch.cuda.get_rng_state(model.device)] if model.device.type == "cuda" else []
    return {
        "python": list(random.getstate()),
        "numpy": np.random.get_state(legacy=False),
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "actions": model.action_space.np_random.bit_generator.state,
        **({} if model.augmentation is None else {"augmentation": model.augmentation.generator.get_state()}),
    }


def restore_random(model: LearnerMixin, state: State) -> None:
    """Put back what `random_state` gave; the last step, for all that is built draws."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"] and model.device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"][0], model.device)
    model.action_space.np_random.bit_generator.state = state["actions"]
    if model.augmentation is not None:
        held = model.augmentation.generator
        if held.get_state().shape == state["augmentation"].shape:  # else it is of another kind of device
            held.set_state(state["augmentation"])
