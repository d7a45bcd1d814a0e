"""What a learner can begin with that another one has learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from stable_baselines3.common.save_util import recursive_getattr
from torch import Tensor

from agents.learner import LearnerMixin
from agents.training_state.state import State
from agents.training_state.world import restore_normalizer


def begin_with(model: LearnerMixin, learnt: Mapping[str, Any]) -> None:
    """Begin with what another learner has learnt, before `learn`; settings and counts of steps stay its own.

    Args:
        model: that has not been trained.
        learnt: ``policy``, the policy's parameters and buffers; ``moments``, name of an optimizer, as in SB3's zip ->
            what it remembers of each parameter; ``tensors``, name -> tensor beside them; ``interventions``, number of
            an intervention -> its state; ``gradient_steps``, at which these states were taken; and ``normalizer``,
            statistics as `agents.training_state.training_state` has them, or None. What is left out begins anew.

    Raises:
        KeyError: something is missing in it.
        RuntimeError: it is of another policy.
        ValueError: it is of other optimizers or interventions.
    """
    model.policy.load_state_dict(learnt["policy"])
    for name, moments in learnt["moments"].items():
        optimizer = recursive_getattr(model, name)
        own = {
            number: {key: slot.clone() if isinstance(slot, Tensor) else slot for key, slot in slots.items()}
            for number, slots in moments.items()
        }
        optimizer.load_state_dict({"state": own, "param_groups": optimizer.state_dict()["param_groups"]})
    with torch.no_grad():
        for name, tensor in learnt["tensors"].items():
            recursive_getattr(model, name).copy_(tensor)
    _begin_normalizer(model, learnt["normalizer"])
    model.optimizer_steps = learnt["gradient_steps"]
    model.hooks.attach()  # anew: nothing is due, and no unit is old
    states = model.intervention_state()
    for number, state in learnt["interventions"].items():
        states["interventions"][number] = state
    model.load_intervention_state(states)


def _begin_normalizer(model: LearnerMixin, statistics: State | None) -> None:
    env = model._vec_normalize_env
    if env is not None and statistics is not None:
        restore_normalizer(env, {**statistics, "returns": env.returns, "old_obs": None, "old_reward": env.old_reward})
