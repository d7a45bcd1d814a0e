"""What a reset was predicted to cost, and what it did cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from agents.plasticity.criteria import replacement_cost
from agents.plasticity.probing import Probed, probed, total
from agents.plasticity.protocols import Learner
from agents.plasticity.taps import Taps
from agents.plasticity.units import UnitLayer

PROBE = 256  # transitions that costs are measured on
COST_EVERY = 1000  # gradient steps between measurements, where resets act more often
TOTALS = ("predicted_cost", "predicted_change", "unit_costs", "realised_cost", "realised_change")
OF_NETWORKS = ("predicted_cost", "unit_costs")


class CostMeter:
    """Sums, over the resets since the last log row, of their predicted and realised costs on a probe batch.

    To first order, in which units do not interact, replacing unit i changes the loss of transition b by
    c_bi = g_bi (r_i - a_bi), summed over positions, times the amount that was replaced. Totals over all units that were
    cut: ``predicted_cost`` is E_b |sum_i c_bi| and ``predicted_change`` E_b sum_i c_bi; ``realised_cost`` is the mean
    absolute change of a transition's loss, and ``realised_change`` the change of the mean loss: of the losses that
    train the networks that were cut, against the same targets. Where these are linear in the activations that were cut,
    predicted and realised are equal. ``unit_costs`` is sum_i E_b |c_bi|, what each unit would cost alone: the utilities
    of `criteria.gxd`, and never less than ``predicted_cost``, in which units of opposite sign cancel.

    Per network: ``predicted_cost``, over its own units, and ``unit_costs``; and of networks with an output layer
    ``output_change``, the mean absolute change of the outputs.

    Attributes:
        measured: the gradient step of the last measurement; None before the first.
    """

    def __init__(self, learner: Learner, names: Sequence[str]) -> None:
        self._learner = learner
        self.measured: int | None = None
        zero = torch.zeros((), device=learner.device)
        self._sums: dict[str, Tensor] = {key: zero.clone() for key in TOTALS}
        self._sums.update({f"{name}/{key}": zero.clone() for name in names for key in OF_NETWORKS})
        for name, network in learner.networks.items():
            if any(part.height == 0 for part in network.parts):
                self._sums[f"{name}/output_change"] = zero.clone()

    def is_due(self, step: int) -> bool:
        """At every reset, but of those that are less than 1,000 gradient steps apart only at one in each thousand.

        Where the host must not wait for the device, a selection counts in which a unit may have fallen due.
        """
        due = self.measured is None or step // COST_EVERY > self.measured // COST_EVERY
        self.measured = step if due else self.measured
        return due

    def before(self, batch: Any) -> Probed:
        """Probed at the networks before they are cut."""
        return probed(self._learner, batch)

    @torch.no_grad()
    def after(
        self,
        batch: Any,
        before: Probed,
        layers: Sequence[UnitLayer],
        amounts: Mapping[str, Tensor],
        references: Mapping[str, Tensor] | None,
    ) -> None:
        """Add what the surgery did.

        Args:
            batch: the one that was looked at before.
            before: what was seen.
            layers: those that were cut.
            amounts: layer's name -> amounts.
            references: layer's name -> what the surgery put in the units' place; None for what they now put out.
        """
        with Taps(layers) as taps:
            losses = self._learner.sample_losses(batch, before.td_targets)
        outputs = self._learner.outputs(batch)
        # Network's name -> (batch,); gradients are of mean losses, so that a mean over the batch is a plain sum of it.
        changes: dict[str, Tensor] = {}
        for layer in layers:
            a = before.activations[layer.name]
            new = taps.activations[layer.name] if references is None else references[layer.name]
            cost = replacement_cost(a, before.gradients[layer.name], new) * amounts[layer.name]
            for key in ("unit_costs", f"{layer.network}/unit_costs"):
                self._sums[key] += cost.abs().sum()
            changes[layer.network] = changes.get(layer.network, 0) + cost.sum(1)
        together = torch.stack(list(changes.values())).sum(0)
        self._sums["predicted_cost"] += together.abs().sum()
        self._sums["predicted_change"] += together.sum()
        for name, one in changes.items():
            self._sums[f"{name}/predicted_cost"] += one.abs().sum()
        # Other losses change too, but no gradient has foretold that.
        change = total(losses, changes.keys()) - total(before.losses, changes.keys())
        self._sums["realised_cost"] += change.abs().mean()
        self._sums["realised_change"] += change.mean()
        for name, output in outputs.items():
            if f"{name}/output_change" in self._sums:
                self._sums[f"{name}/output_change"] += (output - before.outputs[name]).abs().mean()

    def read(self) -> dict[str, float]:
        """The sums, and begin anew. One transfer to the host."""
        numbers = torch.stack(list(self._sums.values())).tolist()
        for value in self._sums.values():
            value.zero_()
        return dict(zip(self._sums, numbers, strict=True))

    def tensors(self) -> dict[str, Tensor]:
        """The sums, to be saved and restored in place."""
        return self._sums
