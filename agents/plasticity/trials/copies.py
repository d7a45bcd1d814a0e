"""Copies of a learner, which itself stays as it is to the last bit."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from agents.plasticity.diagnostics.fit.steps import twins
from agents.plasticity.injectable import Injectable
from agents.plasticity.protocols import Edit, Intervention, Learner
from agents.plasticity.threads import value_lock

REPLAY_RATIO = "how often data is learnt from is no matter of networks, so that copies cannot tell"


class Copied:
    """A learner as an intervention that is tried sees it: all as ever, but for what it may change.

    Attributes:
        seed: of all that it draws.
        optimizers: copies, with what they remember, that step on the copied parameters.
        optimizer_steps: as the intervention counts them.
        edits: what it has announced.
        begins_anew: whether it has asked for that.
        together: names of the networks that are trained by one loss, of each loss; known once it was trained.
    """

    def __init__(self, learner: Learner, seed: int) -> None:
        self._learner = learner
        self.seed = seed
        self.optimizers = tuple(map(_remembering, learner.optimizers))
        self.optimizer_steps = 0
        self.edits: list[Edit] = []
        self.begins_anew = False
        self.together: Sequence[tuple[str, ...]] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._learner, name)

    def outcome(self) -> Outcome:
        """What has become of it; asked while the modules hold the copies."""
        learner = self._learner
        tensors = {tensor: tensor.data for tensor in tensors_of(learner)}
        injected = {head: head.injected for head in heads_of(learner)}
        return Outcome(tensors, self.optimizers, injected, self.edits, self.begins_anew)

    def announce(self, edit: Edit, author: Intervention) -> None:
        """Keep it."""
        self.edits.append(edit)

    def begin_anew(self) -> None:
        """Keep that too."""
        self.begins_anew = True

    @property
    def replay_ratio(self) -> NoReturn:
        """None.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(REPLAY_RATIO)

    given_replay_ratio = replay_ratio

    def weigh_by_age(self, decay_steps: int, min_weight: float) -> NoReturn:
        """Nothing.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(REPLAY_RATIO)


def _remembering(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    (twin,) = twins([optimizer], dict(zip(held, held, strict=True)))
    for parameter, state in optimizer.state.items():
        twin.state[parameter] = copy.deepcopy(state)
    return twin


@dataclass(frozen=True)
class Outcome:
    """What has become of a copy.

    Attributes:
        tensors: of the learner -> its values in the copy.
        optimizers: the copies, in the learner's order.
        injected: head -> whether plasticity has been injected into it.
        edits: that were announced.
        begins_anew: whether the learner is asked to.
    """

    tensors: Mapping[Tensor, Tensor]
    optimizers: Sequence[torch.optim.Optimizer]
    injected: Mapping[Injectable, bool]
    edits: Sequence[Edit]
    begins_anew: bool

    def is_another(self, learner: Learner) -> Tensor:
        """Whether any value, or what is injected, is another than the learner's own; a scalar, waits for no GPU.

        Asked when the modules hold their own again. What is no number is another.
        """
        if any(head.injected is not injected for head, injected in self.injected.items()):
            return torch.ones((), dtype=torch.bool, device=learner.device)
        found = [(tensor != value).any().to(learner.device) for tensor, value in self.tensors.items()]
        return torch.stack(found).any()

    @torch.no_grad()
    def put_into(self, learner: Learner, author: Intervention) -> None:
        """Make the learner what its copy has become, to the bit, and announce it.

        Args:
            learner: of which nothing has changed since.
            author: who does it.
        """
        for tensor, value in self.tensors.items():
            tensor.copy_(value)
        for optimizer, twin in zip(learner.optimizers, self.optimizers, strict=True):
            for parameter in (p for group in optimizer.param_groups for p in group["params"]):
                if parameter in twin.state:
                    optimizer.state[parameter] = twin.state[parameter]
                else:
                    optimizer.state.pop(parameter, None)
        for head, injected in self.injected.items():
            head.injected = injected
        for edit in self.edits:
            learner.announce(edit, author)
        if self.begins_anew:
            learner.begin_anew()


@contextmanager
def on_a_copy(learner: Learner, seed: int) -> Iterator[Copied]:
    """Around trials: the modules of a learner hold copies of all that they are made of, with gradients of their own.

    Modules and parameters stay the same objects, so that unit graphs hold; afterwards their own values stand where they
    stood, untouched.

    Args:
        learner: that nothing trains meanwhile.
        seed: of all that is drawn in it.

    Yields:
        What an intervention is attached to, see `try_out`.
    """
    copied = Copied(learner, seed)
    try:
        with _kept(learner) as own:
            for tensor, data in own.items():
                tensor.data = data.clone()
            yield copied
    finally:
        copied.optimizers = ()  # what was tried may be one of a cycle, which would keep them


@contextmanager
def become(learner: Learner, outcome: Outcome) -> Iterator[None]:
    """Around measurements of what a copy has become: the modules of a learner hold it, which nothing may change.

    Args:
        learner: that nothing trains meanwhile; afterwards it is as it was.
        outcome: of a copy of it.
    """
    with _kept(learner):
        for tensor, value in outcome.tensors.items():
            tensor.data = value
        for head, injected in outcome.injected.items():
            head.injected = injected
        yield


@contextmanager
def _kept(learner: Learner) -> Iterator[Mapping[Tensor, Tensor]]:
    """Around what puts other values into a learner's tensors: their own, which stand there again afterwards."""
    with value_lock(learner.root).writing():
        own = {tensor: tensor.data for tensor in tensors_of(learner)}
        gradients = {tensor: tensor.grad for tensor in own if tensor.is_leaf}
        injected = {head: head.injected for head in heads_of(learner)}
        try:
            for tensor in gradients:
                tensor.grad = None
            yield own
        finally:
            for tensor, data in own.items():
                tensor.data = data
            for tensor, gradient in gradients.items():
                tensor.grad = gradient
            for head, was in injected.items():
                head.injected = was


def tensors_of(learner: Learner) -> list[Tensor]:
    """All parameters and buffers, those that a unit graph or an optimizer alone knows among them, each once."""
    graphs = learner.networks.values()
    found: list[Tensor] = [*learner.root.parameters(), *learner.root.buffers()]
    found += [p for optimizer in learner.optimizers for group in optimizer.param_groups for p in group["params"]]
    found += [p for network in graphs for p in network.parameters]
    found += [tensor for network in graphs for tensor, _ in network.constants]
    found += [tensor for network in graphs for layer in network.layers for tensor, _ in layer.constants]
    return list(dict.fromkeys([*found, *learner.targets.values()]))


def heads_of(learner: Learner) -> list[Injectable]:
    """What plasticity can be injected into."""
    return [head for network in learner.networks.values() for heads in network.heads for head in heads]
