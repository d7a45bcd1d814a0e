"""What of a policy's parameters another one of the same kind begins with, and where they do not fit, why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from agents.learner import LearnerMixin
from agents.mapping import Actions, Mapped, UnlikeError, mapped
from agents.plasticity.layers import kind_of
from crl.config.messages import in_words
from crl.sources.reading import Source

KINDS = ("action_net", "actor", "actor_target", "critic", "q_net")
"""Parts of policies that tell algorithms apart."""
LAYERS = (
    "give agent.net_arch, agent.features, agent.network, agent.norm, agent.dropout and agent.injectable as the source "
    "has them, or another source"
)


class MisfitError(ValueError):
    """A policy cannot begin with another one's parameters, which the message says."""


def fitted(model: LearnerMixin, source: Source) -> Mapped:
    """What a learner's policy begins with.

    Args:
        model: whose policy it is.
        source: that has learnt; anybody may have made it.

    Raises:
        MisfitError: it is of another algorithm or has other layers, or nothing of it can be kept.
        KeyError, TypeError: it has no policy.
        ValueError: it has numbers that are not finite.
    """
    own, found = model.policy.state_dict(keep_vars=True), source.modules["policy"]
    if not isinstance(found, Mapping) or not all(map(_is_plain, found.values())):
        raise TypeError("its policy is no dict of tensors")
    if _kinds(own) != _kinds(found):
        others, ours = (in_words(sorted(_kinds(state)) or ["none of these"]) for state in (found, own))
        raise MisfitError(
            f"it is of another algorithm: its policy has {others}, and this run's {ours}; give agent.name as the "
            "source has it, or another source"
        )
    if (problem := _activation(model, source.activation)) is not None:
        raise MisfitError(problem)
    try:
        result = mapped(model.policy, found, Actions.of(model.action_space, model.action_meanings), source.actions)
    except UnlikeError as error:
        raise MisfitError(_unlike(error.name, own, found)) from error
    if not all(tensor.isfinite().all() for tensor in found.values()):
        raise ValueError("its policy has numbers that are not finite")
    _check_shared(own, found)
    if not any(result.kept[name].any() for name, tensor in own.items() if tensor.dim() > 1):
        raise MisfitError(
            "nothing of it can be kept: its observations and its actions are others, and no layer lies between them; "
            "give a source from a world more like this one, or leave from out"
        )
    return result


def _is_plain(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"


def _kinds(state: Mapping[str, Any]) -> set[str]:
    return {str(name).partition(".")[0] for name in state} & set(KINDS)


def _activation(model: LearnerMixin, found: str | None) -> str | None:
    """The sentence on other activation functions, which no parameter shows."""
    own = getattr(model.policy, "activation_fn", None)
    ours = None if own is None else kind_of(own).__name__
    if None in (found, ours) or found == ours:
        return None
    return (
        f"its activation functions are {found}, and this run's {ours}; give agent.activation as the source has it, or "
        "another source"
    )


def _unlike(name: str, own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """The sentence on the first parameter that differs in more than the worlds do."""
    if name not in found or name not in own:
        owner = "it has" if name in found else "this run has"
        return f"its net_arch is another one: {owner} {name}, and the other one has not; {LAYERS}"
    shapes = f"{name} is {_by(found[name].shape)}, and this run's {_by(own[name].shape)}"
    return f"its net_arch is another one: {shapes}; {LAYERS}"


def _check_shared(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Refuse parameters that are several there, and here one that actor and critic share."""
    first: dict[Tensor, str] = {}
    for name, tensor in own.items():
        other = first.setdefault(tensor, name)
        if other != name and not torch.equal(found[name], found[other]):
            raise MisfitError(
                f"its actor and critic have features of their own, {other} and {name}, and this run's share them; give "
                "agent.policy_kwargs.share_features_extractor=false, or another source"
            )


def _by(shape: Any) -> str:
    return " x ".join(map(str, shape)) or "one"
