"""All that decides how a learner goes on, as plain data: nested dicts and lists of JSON values, arrays and tensors.

It is taken and put back between two updates, the one place where SB3's loops leave nothing half done. Nothing in it is
pickled, and nothing but the data of the learner's own classes is put back.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from stable_baselines3.common.save_util import recursive_getattr

from agents.buffers.state import buffer_state, check_saveable, restore_buffer
from agents.learner import LearnerMixin
from agents.training_state.beginning import begin_with
from agents.training_state.generators import random_state, restore_random
from agents.training_state.learner import actions_state, learner_state, restore_learner, restore_optimizers
from agents.training_state.state import State
from agents.training_state.world import (
    rebuild_games,
    restore_normalizer,
    restore_world,
    statistics_of,
    world_state,
)

EXPLORATION = "exploration_rate"  # of DQN

__all__ = [
    "State",
    "begin_with",
    "check_saveable",
    "learnt_state",
    "rebuild_games",
    "restore_learnt",
    "restore_optimizers",
    "restore_training_state",
    "statistics_of",
    "training_state",
]


def training_state(model: LearnerMixin) -> dict[str, State]:
    """The state of a learner that has just finished an update.

    Returns:
        ``learner``, ``world`` (its environment with the wrappers around it), ``random`` (all generators) and ``replay``
        or ``rollout``, what its buffer holds: nothing where that is a rollout of SB3's own. Arrays and tensors are the
        learner's own: write them before it goes on, or copy them.

    Raises:
        NotImplementedError: the games cannot be saved (see `rebuild_games`).
        ValueError: the buffer cannot be saved (see `agents.buffers.state.check_saveable`).
    """
    assert model.env is not None
    buffer = buffer_state(model.buffer)
    return {
        "learner": learner_state(model),
        "world": world_state(model.env),
        "random": random_state(model),
        **({model.spec.data: buffer} if buffer else {}),
    }


def restore_training_state(model: LearnerMixin, state: Mapping[str, State]) -> None:
    """Put back what `training_state` gave, into a learner that was built as that one was.

    To be called when `learn` has begun and before its first step (``_on_training_start`` of a callback): SB3 sets
    attributes at its beginning.

    Raises:
        ValueError: the state is of another kind of learner or environment.
        KeyError: something is missing in it.
    """
    assert model.env is not None
    restore_learner(model, state["learner"])
    restore_buffer(model.buffer, state["replay"] if model.spec.data == "replay" else state.get("rollout", {}))
    restore_world(model.env, state["world"])
    restore_random(model, state["random"])


def learnt_state(model: LearnerMixin) -> dict[str, State]:
    """What a learner has learnt, as far as it needs that to play: what `restore_learnt` takes of `training_state`.

    Arrays and tensors are the learner's own.
    """
    _, tensors = model._get_torch_save_params()
    normalizer = model._vec_normalize_env
    return {
        "learner": {
            "counters": {name: getattr(model, name) for name in model.counters()},
            "modules": {"policy": model.policy.state_dict()},
            "tensors": {name: recursive_getattr(model, name) for name in tensors},
            "actions": actions_state(model),
        },
        "world": {"wrappers": [] if normalizer is None else [statistics_of(normalizer)]},
    }


def restore_learnt(model: LearnerMixin, state: Mapping[str, State]) -> None:
    """Put back what a learner has learnt, to look at it: parameters, statistics and how much it explores, all at rest.

    Args:
        model: built as the one was whose state it is, its environment with the same wrappers.
        state: of `learnt_state`, or of `training_state`, of which ``learner`` and ``world`` are needed.

    Raises:
        KeyError: something is missing in it.
        RuntimeError: it is of another policy.
    """
    modules, tensors = state["learner"]["modules"], state["learner"]["tensors"]
    model.policy.load_state_dict(modules["policy"])
    with torch.no_grad():
        for name, tensor in tensors.items():
            recursive_getattr(model, name).copy_(tensor)
    explores = state["learner"]["counters"].get(EXPLORATION)
    if isinstance(explores, float) and 0 <= explores <= 1:
        setattr(model, EXPLORATION, explores)
    env = model._vec_normalize_env
    if env is not None:
        (saved,) = (layer for layer in state["world"]["wrappers"] if "ret_rms" in layer)
        # Not what was seen last: these are other games.
        restore_normalizer(env, {**saved, "returns": env.returns, "old_obs": None, "old_reward": env.old_reward})
        env.training = False
