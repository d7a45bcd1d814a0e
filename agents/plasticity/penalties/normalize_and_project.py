"""Normalize-and-project: weights in front of normalisations keep the norm that they began with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from agents.plasticity.network_intervention import NetworkIntervention, Networks, check_steps, stepped_by
from agents.plasticity.protocols import Edit, Learner, Update
from agents.plasticity.units import Network
from agents.plasticity.units.builders import NORMS, PRODUCERS

TINY = 1e-12


class Projected(NamedTuple):
    """Tensors that are scaled by one factor, so that their norm together is what it was.

    Attributes:
        counted: those whose norm it is.
        others: those that are scaled alike.
        norm: (), what it is held at.
        follows: it becomes what it is then where they are drawn anew.
    """

    counted: tuple[Tensor, ...]
    others: tuple[Tensor, ...]
    norm: Tensor
    follows: bool


class NormalizeAndProject(NetworkIntervention):
    """Normalize-and-project: hold the norms of weights in front of normalisations (NaP, arXiv 2407.01800).

    A layer with a normalisation behind it computes the same whatever the scale of its weights; as they grow, the same
    step of the optimizer changes it less and less. Therefore the weights of every hidden layer are scaled back to the
    Frobenius norm that they began with after every `period` gradient steps, and its bias by the same factor, so that
    what it computes stays (with batch normalisation in evaluation mode once running statistics have followed). Gain and
    offset of a normalisation of n units are scaled to a norm of sqrt(n) together, with which they begin. What is drawn
    anew as a whole has its new norm to keep. Output layers are left alone. Networks without a normalisation behind each
    hidden layer are refused, SimBa's among them: build them so with ``agent.norm: layer`` or ``rms``. The authors' code
    was not available to us: these are their rules as others tell them. Growing norms made the learning rate fall; where
    that was needed, give a schedule.

    Args:
        networks: names of the networks whose weights are held, or ``paper``; None for all that the policy has.
        period: gradient steps between projections. Published is 1; 1,000 is said to do about as well.
    """

    name = "normalize_and_project"

    def __init__(self, *, networks: Networks = None, period: int = 1) -> None:
        super().__init__(networks)
        check_steps("period", period, 1)
        self.period = period

    @torch.no_grad()
    def attach(self, learner: Learner) -> None:
        super().attach(learner)
        self._projected = {name: list(self._of(learner.networks[name])) for name in self._names}

    def _of(self, network: Network) -> Iterator[Projected]:
        layers = {layer.producer: layer for layer in network.layers}
        for part in network.parts:
            if not part.height or not isinstance(part.module, PRODUCERS):
                continue
            layer = layers.get(part.module)
            norm = None if layer is None else layer.preactivation
            if not isinstance(norm, NORMS):
                raise ValueError(
                    f"{self.name}: {network.name} has {part.module} without a normalisation before its activation "
                    "function, so that projecting its weights would change what it computes; build the networks with "
                    f"one (agent.norm: layer or rms, in agent.network: mlp), or leave {network.name} out of networks"
                )
            weight, bias = part.module.weight, part.module.bias
            yield Projected((weight,), () if bias is None else (bias,), weight.norm(), True)
            affine = tuple(norm.parameters(recurse=False))
            if affine:
                yield Projected(affine, (), affine[0].new_full((), math.sqrt(len(affine[0]))), False)

    def claims(self) -> dict[str, list[str]]:
        return {"hold the norms of {}": self._names}

    @torch.no_grad()
    def after_step(self, update: Update) -> None:
        assert self.period is not None
        if update.step % self.period:
            return
        trained = stepped_by(update.optimizer)
        here = [each for name in self._names if name in update.networks for each in self._projected[name]]
        scaled = [each for each in here if trained.issuperset((*each.counted, *each.others))]
        if len(scaled) < len(here):
            self._tell_untrained(tensor for each in here for tensor in (*each.counted, *each.others))
        if scaled:
            factors = torch.stack([each.norm for each in scaled]) / _norms_of(scaled).clamp_min(TINY)
            for each, factor in zip(scaled, factors.unbind(), strict=True):
                torch._foreach_mul_([*each.counted, *each.others], factor)

    @torch.no_grad()
    def on_surgery(self, edit: Edit) -> None:
        drawn = set(edit.tensors)
        for projected in self._projected.values():
            for each in projected:
                if each.follows and drawn.issuperset(each.counted):
                    each.norm.copy_(_norms_of([each])[0])

    def state_dict(self) -> dict[str, Tensor]:
        return {key: norm.clone() for key, norm in self._norms().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._refuse_other_networks(state)
        for key, norm in self._norms().items():
            norm.copy_(state[key])

    def _norms(self) -> dict[str, Tensor]:
        return {
            f"norm/{name}/{number}": each.norm
            for name, projected in self._projected.items()
            for number, each in enumerate(projected)
        }


def _norms_of(projected: Sequence[Projected]) -> Tensor:
    """The norm of what is counted of each, (projected,)."""
    norms = iter(torch._foreach_norm([tensor for each in projected for tensor in each.counted]))
    rows = [[next(norms) for _ in each.counted] for each in projected]
    none = projected[0].norm.new_zeros(())
    width = max(map(len, rows))
    table = torch.stack([norm for row in rows for norm in (*row, *[none] * (width - len(row)))])
    found: Tensor = table.view(-1, width).norm(dim=1)
    return found
