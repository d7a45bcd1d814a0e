"""Whether parameters of a policy are those of another one of the same kind, and what is the first that differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from agents.learner import LearnerMixin
from crl.config.messages import in_words

KINDS = ("action_net", "actor", "actor_target", "critic", "q_net")
"""Parts of policies that tell algorithms apart."""


def misfit(model: LearnerMixin, found: Any) -> str | None:
    """What is the first difference between the policy's parameters and others, and what to do; None where all fit.

    Args:
        model: whose policy it is.
        found: a state dict, of anybody's.

    Raises:
        TypeError: it is none.
        ValueError: it has numbers that are not finite.
    """
    own = model.policy.state_dict()
    if not isinstance(found, Mapping) or not all(map(_is_plain, found.values())):
        raise TypeError("its policy is no dict of tensors")
    if _kinds(own) != _kinds(found):
        theirs, ours = (in_words(sorted(_kinds(state)) or ["none of these"]) for state in (found, own))
        return (
            f"it is of another algorithm: its policy has {theirs}, and this run's {ours}; give agent.name as the "
            "source has it, or another source"
        )
    problem = _observations(own, found) or _actions(model, own, found) or _layers(own, found)
    if problem is None and not all(tensor.isfinite().all() for tensor in found.values()):
        raise ValueError("its policy has numbers that are not finite")
    return problem


def _is_plain(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"


def _kinds(state: Mapping[str, Any]) -> set[str]:
    return {str(name).partition(".")[0] for name in state} & set(KINDS)


def _weights(state: Mapping[str, Tensor]) -> list[str]:
    return [name for name, tensor in state.items() if tensor.dim() > 1 and name.endswith("weight")]


def _observations(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """Where the layers that read observations read others: the first one, or the one behind convolutions."""
    for name in _weights(own):
        if name not in found or found[name].dim() != own[name].dim():
            return None
        (width, *theirs), (own_width, *ours) = found[name].shape, own[name].shape
        if theirs != ours and (name == _weights(own)[0] or (width == own_width and "features_extractor" in name)):
            return (
                f"its observation space is another one: {name} reads {_by(theirs)} values, and this run's {_by(ours)}; "
                "give a stream with its observations, or another source"
            )
        if found[name].shape != own[name].shape:
            return None
    return None


def _actions(model: LearnerMixin, own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """Where all layers are there, and the last one of the networks that act puts out another number of values."""
    remedy = "give a stream with its actions, or another source"
    if own.keys() ^ found.keys() == {"log_std"}:
        theirs, ours = ("continuous", "not") if "log_std" in found else ("not continuous", "are")
        return f"its action space is another one: its actions are {theirs}, and this run's {ours}; {remedy}"
    if own.keys() != found.keys():
        return None
    if all(found[name].shape == own[name].shape for name in own):
        return None
    networks = model.networks
    acting = networks.get("actor", networks["critic"])
    for part in acting.parts:
        weight = part.module.weight
        name = model.parameter_name(weight) if part.height == 0 and isinstance(weight, Tensor) else ""
        if name and found[name].shape[0] != own[name].shape[0]:
            counts = f"{name} puts out {found[name].shape[0]} values, and this run's {own[name].shape[0]}"
            return f"its action space is another one: {counts}; {remedy}"
    return None


def _layers(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    remedy = (
        "give agent.net_arch, agent.features, agent.network, agent.norm, agent.dropout and agent.injectable as the "
        "source has them, or another source"
    )
    for name in [*own, *found]:
        if name not in found or name not in own:
            owner = "it has" if name in found else "this run has"
            return f"its net_arch is another one: {owner} {name}, and the other one has not; {remedy}"
        if found[name].shape != own[name].shape:
            shapes = f"{name} is {_by(found[name].shape)}, and this run's {_by(own[name].shape)}"
            return f"its net_arch is another one: {shapes}; {remedy}"
    return None


def _by(shape: Any) -> str:
    return " x ".join(map(str, shape)) or "one"
