"""Networks as they would be had they just been built: what a learner's own are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from agents.plasticity.network_intervention import trained_parameters
from agents.plasticity.protocols import Learner
from agents.plasticity.seeds import derive_seed
from agents.plasticity.threads import value_lock
from agents.plasticity.units import Network, Part


@torch.no_grad()
def fresh_parameters(learner: Learner, *seed: object) -> dict[str, Tensor]:
    """All parameters and buffers of a learner, as `Learner.snapshot` gives them, with its networks drawn anew.

    Layers are drawn as they were when they were built, constants begin as they did, and nothing is injected into heads.
    What is not trained (frozen features) is part of what the networks are, and stays; so do target networks.

    Args:
        learner: whose networks they are; it stays as it is.
        seed: all that the draw depends on beside the networks.
    """
    names = _names(learner.root)
    found, trained = learner.snapshot(), trained_parameters(learner)

    def put(tensor: Tensor, value: Tensor | float) -> None:
        found[names[tensor]] = torch.as_tensor(value).to(tensor, non_blocking=True).expand_as(tensor).clone()

    for network in learner.networks.values():
        for number, part in enumerate(network.parts):
            if trained.isdisjoint(part.module.parameters(recurse=False)):
                continue
            for parameter, drawn in _drawn(network, number, part, seed):
                if parameter in trained:
                    put(parameter, drawn)
            if isinstance(part.module, nn.BatchNorm1d | nn.BatchNorm2d) and part.module.track_running_stats:
                put(part.module.get_buffer("running_mean"), 0.0)
                put(part.module.get_buffer("running_var"), 1.0)
        for tensor, value in network.constants:
            if tensor in trained and tensor in names:  # a graph may name what no module of it holds
                put(tensor, value)
        for head, *_ in network.heads:
            for parameter in head.frozen:  # the two cancel out
                put(parameter, 0.0)
    return found


def _drawn(network: Network, number: int, part: Part, seed: tuple[object, ...]) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(derive_seed("fresh", *seed, network.name, number))
    for key, value in zip(("weight", "bias"), part.init.draw(part.module, generator), strict=True):
        if value is not None:
            yield getattr(part.module, key), value


def _names(root: nn.Module) -> dict[Tensor, str]:
    """Parameter or buffer -> its name in a snapshot."""
    return {tensor: name for named in (root.named_parameters(), root.named_buffers()) for name, tensor in named}


@contextmanager
def holding(learner: Learner, parameters: Mapping[str, Tensor]) -> Iterator[None]:
    """Around looks at a learner as if it had other parameters; nothing may train it meanwhile.

    Its parameters stay the same objects, so that unit graphs and optimizers hold, and afterwards their own values stand
    where they stood, untouched.

    Args:
        learner: that is looked at.
        parameters: of its `snapshot`, or of `fresh_parameters`.
    """
    with value_lock(learner.root).writing():
        own = {tensor: tensor.data for tensor in _names(learner.root)}
        try:
            for tensor, name in _names(learner.root).items():
                tensor.data = parameters[name]
            yield
        finally:
            for tensor, data in own.items():
                tensor.data = data
