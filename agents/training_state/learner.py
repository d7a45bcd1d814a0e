"""What a learner itself holds: parameters, optimizers, interventions and counters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.noise import ActionNoise, VectorizedActionNoise
from stable_baselines3.common.save_util import recursive_getattr
from torch import Tensor

from agents.learner import LearnerMixin
from agents.mapping import Actions
from agents.plasticity.protocols import Switch
from agents.training_state.state import State

OPTIONAL = ("_segment", "_replay_ratio")
"""Counters that may be None."""
OBSERVED = ("_last_obs", "_last_original_obs", "_last_episode_starts")


def learner_state(model: LearnerMixin) -> State:
    """Parameters, optimizers, interventions, counters and what was seen last."""
    modules, tensors = model._get_torch_save_params()
    return {
        "counters": {name: getattr(model, name) for name in model.counters()},
        "modules": {name: recursive_getattr(model, name).state_dict() for name in modules},
        "tensors": {name: recursive_getattr(model, name) for name in tensors},
        "interventions": model.intervention_state(),
        "switches": [asdict(switch) for switch in model.pending_switches],
        "episodes": [dict(info) for info in model.ep_info_buffer or ()],
        "successes": list(model.ep_success_buffer or ()),
        "observed": {name: getattr(model, name) for name in OBSERVED},
        "noise": _noise_state(getattr(model, "action_noise", None)),
        "actions": actions_state(model),
    }


def actions_state(model: LearnerMixin) -> State:
    """What is known of the actions, for an agent that begins with what this one has learnt."""
    known = Actions.of(model.action_space, model.action_meanings)
    return {"kind": known.kind, "names": model.action_meanings}


def restore_learner(model: LearnerMixin, state: State) -> None:
    """Put back what `learner_state` gave.

    Raises:
        ValueError: the state is of another kind of learner.
    """
    counters = model.counters()
    for name, value in state["counters"].items():
        if name not in counters:
            continue  # refused below, by its name
        numbers = value.values() if isinstance(value, dict) else [value]
        unset = value is None and name in OPTIONAL
        if not unset and not all(isinstance(number, int | float) for number in numbers):
            raise ValueError(f"the saved counter {name} is no number")
    _set(model, counters, state["counters"])
    for name, saved in state["modules"].items():
        target = recursive_getattr(model, name)
        if isinstance(target, torch.optim.Optimizer):
            target.load_state_dict(_optimizer_state(target, saved))
        else:
            target.load_state_dict(saved)
    with torch.no_grad():
        for name, tensor in state["tensors"].items():
            recursive_getattr(model, name).copy_(tensor)
    model.load_intervention_state(state["interventions"])
    model.pending_switches = [Switch(**switch) for switch in state["switches"]]
    assert model.ep_info_buffer is not None
    assert model.ep_success_buffer is not None
    model.ep_info_buffer.clear()
    numbers = [number for info in state["episodes"] for number in (info["r"], info["l"])]
    if not all(map(math.isfinite, [*numbers, *state["successes"]])):
        raise ValueError("a saved episode has no return or length")
    model.ep_info_buffer.extend(state["episodes"])
    model.ep_success_buffer.clear()
    model.ep_success_buffer.extend(state["successes"])
    for name in OBSERVED:
        _check_alike(name, getattr(model, name), state["observed"].get(name))
    _set(model, OBSERVED, state["observed"])
    _restore_noise(getattr(model, "action_noise", None), state["noise"])


def restore_optimizers(model: LearnerMixin, state: State) -> None:
    """Put back what optimizers remember, as far as `learner_state` has kept it: of what was learnt alone it has not.

    Raises:
        ValueError: it is of other optimizers.
    """
    for name in model._get_torch_save_params()[0]:
        held = recursive_getattr(model, name)
        if isinstance(held, torch.optim.Optimizer) and name in state["modules"]:
            held.load_state_dict(_optimizer_state(held, state["modules"][name]))


def _set(model: LearnerMixin, names: Sequence[str], values: State) -> None:
    """Set these attributes, and no others whatever a file may name."""
    if other := values.keys() ^ set(names):
        raise ValueError(f"the saved state is of another kind of learner: {', '.join(sorted(other))}")
    for name in names:
        setattr(model, name, values[name])


def _check_alike(name: str, held: Any, saved: Any) -> None:
    """Refuse observations of another shape or kind of numbers than those that the environment has just given."""
    if isinstance(held, dict):
        for key in held:
            _check_alike(f"{name}[{key!r}]", held[key], saved[key])
    elif isinstance(held, np.ndarray):
        array = np.asarray(saved)
        if (array.shape, array.dtype.kind) != (held.shape, held.dtype.kind):
            raise ValueError(f"the saved {name} is of another environment")


def _optimizer_state(optimizer: torch.optim.Optimizer, saved: State) -> dict[str, Any]:
    """The state dict with tuples where the optimizer has them, and copies of the tensors: it goes on with these."""
    groups = []
    for group, held in zip(saved["param_groups"], optimizer.param_groups, strict=True):
        taken = {key: tuple(value) if isinstance(held.get(key), tuple) else value for key, value in group.items()}
        groups.append(taken | {key: held[key] for key in ("fused",) if key in held})  # how it steps is its own matter
    state = {
        number: {key: value.clone() if isinstance(value, Tensor) else value for key, value in slots.items()}
        for number, slots in saved["state"].items()
    }
    return {"state": state, "param_groups": groups}


def _noise_state(noise: ActionNoise | None) -> Any:
    if isinstance(noise, VectorizedActionNoise):
        return [_noise_state(each) for each in noise.noises]
    return getattr(noise, "noise_prev", None)


def _restore_noise(noise: ActionNoise | None, state: Any) -> None:
    if isinstance(noise, VectorizedActionNoise):
        for each, held in zip(noise.noises, state, strict=True):
            _restore_noise(each, held)
    elif state is not None:
        _check_alike("noise", noise.noise_prev, state)  # type: ignore[union-attr]
        noise.noise_prev = state  # type: ignore[union-attr]
