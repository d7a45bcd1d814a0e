"""What of a source a learner begins with, beside the parameters of its policy, and what begins anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

import numpy as np
import torch
from stable_baselines3.common.save_util import recursive_getattr
from torch import Tensor

from agents.learner import LearnerMixin
from agents.mapping import Mapped
from agents.plasticity.compatibility import fits
from agents.plasticity.moments import remembered
from agents.training_state import statistics_of
from crl.sources.reading import Source


def learnt(model: LearnerMixin, source: Source, policy: Mapped, anew: list[str]) -> dict[str, Any]:
    """What of a source a learner begins with, as `begin_with` takes it.

    Moments stay with parameters that are kept as a whole, states of interventions where all of the policy is.

    Args:
        model: as it was built.
        source: that has learnt.
        policy: its parameters, as the learner takes them.
        anew: grows by what begins anew.
    """
    found: dict[str, Any] = {
        "policy": policy.state,
        "moments": dict(_moments(model, source, policy, anew)),
        "tensors": dict(_tensors(model, source, anew)),
        "normalizer": _normalizer(model, source, anew),
        "interventions": dict(_interventions(model, source, policy, anew)),
    }
    # Their ages and periods are counted from there.
    return {**found, "gradient_steps": source.gradient_steps if found["interventions"] else 0}


def _moments(model: LearnerMixin, source: Source, policy: Mapped, anew: list[str]) -> Iterator[tuple[str, Any]]:
    """Name of each optimizer whose memory fits -> that memory."""
    names, _ = model._get_torch_save_params()
    own = model.policy.state_dict(keep_vars=True)
    moved = {own[name] for name in policy.moved}
    for name in names:
        if name == "policy":
            continue
        optimizer = recursive_getattr(model, name)
        saved = source.modules.get(name)
        moments = saved.get("state") if isinstance(saved, Mapping) else None
        stays = moved.isdisjoint(parameter for group in optimizer.param_groups for parameter in group["params"])
        if stays and isinstance(moments, Mapping) and moments and _remembers(optimizer, moments):
            yield name, dict(moments)
        else:
            anew.append(f"the moments of {name}")


def _remembers(optimizer: torch.optim.Optimizer, moments: Mapping[Any, Any]) -> bool:
    """Whether an optimizer could have these moments, of its parameters by number."""
    own = remembered(optimizer)
    return all(
        number in own
        and isinstance(slots, Mapping)
        and fits(slots, own[number])
        and all(map(_is_sound, slots.values()))
        for number, slots in moments.items()
    )


def _is_sound(slot: Any) -> bool:
    """Whether an optimizer could go on with this, whatever it stands for."""
    return _is_finite(slot) or (type(slot) is int and 0 <= slot < 2**62)


def _tensors(model: LearnerMixin, source: Source, anew: list[str]) -> Iterator[tuple[str, Tensor]]:
    _, names = model._get_torch_save_params()
    for name in names:
        own, found = recursive_getattr(model, name), source.tensors.get(name)
        if own.requires_grad:  # what is learned
            if _is_finite(found) and found.shape == own.shape:
                yield name, found.detach()
            else:
                anew.append(name)


def _normalizer(model: LearnerMixin, source: Source, anew: list[str]) -> dict[str, Any] | None:
    """The statistics that go on, of what both normalise."""
    env, found = model._vec_normalize_env, source.normalizer
    if env is None:
        if found is not None and found["obs_rms"]:
            source.lost.append("the source saw normalized observations, and this run does not; give normalize.obs=true")
        return None
    own = statistics_of(env)
    if found is None or not all(_is_alike(found["obs_rms"].get(key), rms) for key, rms in own["obs_rms"].items()):
        anew.append("the normalizer")
        return None
    if not _is_alike(found["ret_rms"], own["ret_rms"]):
        raise ValueError("its normalizer has no statistics of returns")
    return {"obs_rms": {key: found["obs_rms"][key] for key in own["obs_rms"]}, "ret_rms": found["ret_rms"]}


def _is_alike(found: Any, own: Mapping[str, Any]) -> bool:
    """Whether these are statistics of observations of the same shape."""
    if not isinstance(found, Mapping) or found.keys() != own.keys():
        return False
    return all(np.shape(found[key]) == np.shape(own[key]) and np.isfinite(found[key]).all() for key in own)


def _interventions(model: LearnerMixin, source: Source, policy: Mapped, anew: list[str]) -> Iterator[tuple[int, Any]]:
    """Number of each intervention that the source had, too -> its state there; the second of a name has the second."""
    waiting = list(source.interventions)
    held = model.intervention_state().get("interventions", [])
    for number, (intervention, own) in enumerate(zip(model.interventions, held, strict=True)):
        place = next((i for i, (name, _) in enumerate(waiting) if name == intervention.name), None)
        state = None if place is None else waiting.pop(place)[1]
        if state is not None and not policy.moved and fits(state, own):
            yield number, state
        else:
            anew.append(f"the state of {intervention.name}")


def titles(model: LearnerMixin, learnt: Mapping[str, Any]) -> Iterator[str]:
    """What of `learnt` is kept beside the policy's parameters."""
    if learnt["moments"]:
        yield "optimizer moments"
    yield from learnt["tensors"]
    if learnt["normalizer"] is not None:
        yield "the normalizer"
    for number in learnt["interventions"]:
        yield f"the state of {model.interventions[number].name}"


def _is_finite(value: Any) -> TypeGuard[Tensor]:
    plain = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
    return plain and bool(value.isfinite().all())
