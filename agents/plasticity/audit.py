"""What replacing a unit really costs, measured one unit at a time, and what every criterion says of it.

A unit is replaced by holding what its layer's tap puts out at a value, at all positions, which is what a surgery does
that zeroes the outgoing weights (the value is 0) or lets the consumers' biases absorb the unit's mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from agents.plasticity import registry
from agents.plasticity.compiler import eagerly
from agents.plasticity.criteria import Criterion, CriterionInputs, spread
from agents.plasticity.prefix import Prefix, modules_of
from agents.plasticity.probing import Slopes, layers_of, output_gradients, probed
from agents.plasticity.protocols import Learner
from agents.plasticity.seeds import derive_seed
from agents.plasticity.units import Place, UnitLayer

REFERENCES: tuple[Literal["zero", "mean"], ...] = ("zero", "mean")
# The options that are audited beside the default ones.
VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "gxd": ({"reduction": "mean_abs"},),
    "contribution": ({"form": "centred"}, {"form": "adaptable"}),
}
OF_OUTPUTS = ("gxd",)  # also with the outputs' gradients in place of the loss's


# ---------------------------------------------------------------------- true costs


@dataclass(frozen=True)
class Ablation:
    """What a learner computes on a batch while some units are held; also with none held.

    Attributes:
        losses: of the layer's network, (batch,).
        outputs: output network's name -> (batch, outputs).
    """

    losses: Tensor
    outputs: Mapping[str, Tensor]


@dataclass(frozen=True)
class Costs:
    """What replacing units costs: shape (units,) for each unit alone, () for some units together.

    Attributes:
        absolute: mean absolute change of a transition's loss.
        mean_loss: absolute change of the mean loss, in which transitions cancel.
        outputs: mean absolute change of the outputs, summed over the output networks.
    """

    absolute: Tensor
    mean_loss: Tensor
    outputs: Tensor


def true_costs(learner: Learner, batch: Any, layer: UnitLayer, reference: Tensor) -> Costs:
    """What replacing each unit of a layer alone by the reference costs, (units,), on the CPU.

    It takes two forward passes for each unit, in which what lies before the layer is not computed again.
    """
    ablations = _Ablations(learner, batch, layer)
    return ablations.costs([torch.tensor([unit]) for unit in range(layer.units)], reference)


def joint_costs(learner: Learner, batch: Any, layer: UnitLayer, groups: Sequence[Tensor], reference: Tensor) -> Costs:
    """What replacing the units of each group together costs, (groups,), on the CPU; a group is a tensor of indices."""
    return _Ablations(learner, batch, layer).costs(groups, reference)


def references_of(layer: UnitLayer, a: Tensor) -> dict[str, Tensor]:
    """What a surgery puts in the units' place: ``zero``, and the ``mean`` activation.

    The mean is (units,), or (units, positions) where a unit feeds several columns (`UnitLayer.mean`).

    Args:
        layer: whose units they are.
        a: its activations.
    """
    return {"zero": torch.zeros((), device=a.device), "mean": layer.mean(a)}


class _Ablations:
    """Ablations of one layer on one batch."""

    @torch.no_grad()
    def __init__(self, learner: Learner, batch: Any, layer: UnitLayer) -> None:
        self._layer = layer
        held = {place.module for place in layer.places}
        losses = partial(learner.sample_losses, batch, learner.td_targets(batch))
        calls = losses, partial(learner.outputs, batch)
        self._losses, self._outputs = (Prefix(call, modules_of(learner), held) for call in calls)
        self._untouched = self._ablation(torch.tensor([], dtype=torch.int64), torch.zeros((), device=learner.device))

    def _ablation(self, units: Tensor, value: Tensor) -> Ablation:
        with _held(self._layer, units, value):
            return Ablation(self._losses()[self._layer.network], self._outputs())

    @torch.no_grad()
    def costs(self, groups: Sequence[Tensor], value: Tensor) -> Costs:
        found = [self._cost(self._ablation(units, value)) for units in groups]
        absolute, mean_loss, outputs = torch.stack(found, 1).cpu()
        return Costs(absolute, mean_loss, outputs)

    def _cost(self, ablation: Ablation) -> Tensor:
        """The three costs, (3,), in double precision: they are differences of numbers that are nearly the same."""
        before = self._untouched
        change = ablation.losses.double() - before.losses.double()
        moved = [(ablation.outputs[n].double() - output.double()).abs().mean() for n, output in before.outputs.items()]
        return torch.stack([change.abs().mean(), change.mean().abs(), torch.stack(moved).sum()])


@contextmanager
def _held(layer: UnitLayer, units: Tensor, value: Tensor) -> Iterator[None]:
    mask = torch.zeros(layer.units, dtype=torch.bool)
    mask[units] = True

    def hold(place: Place, shown: Tensor) -> Tensor:
        seen = place.units(shown)
        rows = mask.to(seen.device).view(-1, *[1] * (seen.dim() - 2))
        return place.with_units(shown, torch.where(rows, spread(value, seen).to(seen.dtype), seen))

    with ExitStack() as stack:
        stack.enter_context(eagerly())
        for place in layer.places:
            stack.callback(place.show(partial(hold, place)).remove)
        yield


# ---------------------------------------------------------------------- utilities


@dataclass(frozen=True)
class AuditedCriterion:
    """A criterion as it is audited.

    Attributes:
        label: what it is called in tables: name, options that are not the defaults, ``outputs``, ``to mean``.
        criterion: gives the utilities.
        reference: what it takes to be put in a unit's place, of `REFERENCES`.
        signal: gradients of the ``loss``; or of the ``outputs``: the mean over a network's outputs of the criterion
            with that output in the loss's place, summed over the networks that the layer feeds.
    """

    label: str
    criterion: Criterion
    reference: Literal["zero", "mean"] = "zero"
    signal: Literal["loss", "outputs"] = "loss"


def audited_criteria() -> tuple[list[AuditedCriterion], dict[str, str]]:
    """All that can be audited: every registered criterion that needs no options, and `VARIANTS`.

    Those that know what is put in a unit's place are there once for each reference.

    Returns:
        the candidates, and name -> why it is none.
    """
    found: list[AuditedCriterion] = []
    refused: dict[str, str] = {}
    for name in registry.CRITERIA:
        try:
            for options in ({}, *VARIANTS.get(name, ())):
                criterion = registry.build("criterion", {"name": name, **options})
                if criterion.listens:
                    raise ValueError("one batch does not tell how long units have been silent")
                label = " ".join([name, *options.values()])
                found += _candidates(label, criterion, "loss")
                if name in OF_OUTPUTS and not options:
                    found += _candidates(f"{label} outputs", criterion, "outputs")
        except Exception as error:  # the code may be a user's
            refused[name] = str(error)
    return found, refused


def _candidates(label: str, criterion: Criterion, signal: Literal["loss", "outputs"]) -> Iterator[AuditedCriterion]:
    yield AuditedCriterion(label, criterion, "zero", signal)
    if criterion.is_cost:
        yield AuditedCriterion(f"{label} to mean", criterion, "mean", signal)


def utilities(
    learner: Learner, batch: Any, audited: Sequence[AuditedCriterion], seed: int = 0
) -> dict[str, dict[str, Tensor]]:
    """Label -> layer's name -> utilities on the batch, (units,), on the CPU. Running means are the batch's own.

    Args:
        learner: whose units they are.
        batch: of `Learner.sample`.
        audited: what gives utilities.
        seed: of what criteria draw.

    Raises:
        ValueError: a criterion raises, or gives something else than a utility per unit.
    """
    layers = layers_of(learner)
    inside = any(candidate.criterion.looks_inside for candidate in audited)
    seen = probed(learner, batch, preactivations=inside)
    references = {layer.name: references_of(layer, seen.activations[layer.name]) for layer in layers}
    # What gradients are taken of -> (share of the utility, layer's name -> gradients) of each of them.
    terms = {"loss": [(1.0, {layer.name: seen.slopes(layer) for layer in layers})]}
    if any(candidate.signal == "outputs" for candidate in audited):
        _, networks = output_gradients(learner, batch, layers, preactivations=inside)
        terms["outputs"] = [(1 / len(outputs), slopes) for outputs in networks for slopes in outputs]

    def score(candidate: AuditedCriterion, layer: UnitLayer, slopes: Slopes) -> Tensor:
        candidate.criterion.refuse_unknown(layer)
        means = references[layer.name]
        inputs = CriterionInputs(
            layer,
            a=seen.activations[layer.name],
            g=slopes.activation,
            preactivation_grad=slopes.preactivation,
            weight_in_grad=slopes.weight,
            mean=means["mean"],
            reference=means[candidate.reference],
            generator=torch.Generator().manual_seed(derive_seed(seed, candidate.label, layer.name)),
        )
        try:
            return candidate.criterion.score(inputs).double().cpu()
        except ValueError:
            raise
        except Exception as error:  # the code may be a user's
            raise ValueError(
                f"the criterion {candidate.criterion.name!r} raises {type(error).__name__} on {layer.name} ({error}); "
                "correct it"
            ) from error

    return {
        candidate.label: {
            layer.name: torch.stack(
                [share * score(candidate, layer, slopes[layer.name]) for share, slopes in terms[candidate.signal]]
            ).sum(0)
            for layer in layers
        }
        for candidate in audited
    }
