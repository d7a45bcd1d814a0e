"""What unit resets are put together of, and whether that goes together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Self

from agents.plasticity import registry
from agents.plasticity.criteria import Criterion
from agents.plasticity.selections import Selection
from agents.plasticity.surgery import Surgery

TAPS = {"a": "activations", "g": "activation_grads", "preactivation_grad": "preactivation_grads"}
"""Input of a criterion -> what a learner taps for it."""


@dataclass(frozen=True)
class Recipe:
    """A criterion, a selection and a surgery that go together.

    Attributes:
        criterion: gives utilities.
        selection: picks units by them.
        surgery: makes these new.
        of_outputs: utilities are of the network's outputs in place of the loss.
        sampled: utilities are taken on a fresh sample when units are selected, in place of training minibatches.
        arguments: of all three, by name, with which they are built again.
    """

    criterion: Criterion
    selection: Selection
    surgery: Surgery
    of_outputs: bool
    sampled: bool
    arguments: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        criterion: str | Mapping[str, Any],
        selection: str | Mapping[str, Any],
        surgery: Mapping[str, Any] | None,
        *,
        of_outputs: bool,
        on_sample: bool,
    ) -> Self:
        """What these names and arguments stand for, as `UnitReset` takes them.

        Raises:
            ValueError: one is not known, or they do not go together.
        """
        scores: Criterion = registry.build("criterion", criterion)
        selects: Any = registry.build("selection", selection)
        cuts = Surgery.of(surgery)
        chosen = {"name": selection} if isinstance(selection, str) else dict(selection)
        if is_dataclass(selects) and not isinstance(selects, type):  # a user's need not be one
            chosen.update(asdict(selects))
        _check_together(scores, selects, cuts, chosen["name"], of_outputs=of_outputs)
        arguments = {
            "criterion": {"name": scores.name, **scores.options}, "selection": chosen, "surgery": cuts.arguments(),
        }  # fmt: skip
        return cls(scores, selects, cuts, of_outputs, of_outputs or on_sample, arguments)

    @property
    def averages(self) -> bool:
        """Whether it needs running means of activations."""
        return bool(self.criterion.inputs & {"mean"}) or self.surgery.compensate

    @property
    def needs(self) -> frozenset[str]:
        """What a learner has to tap of training minibatches, see `Intervention.needs`."""
        followed = self.averages or self.criterion.listens
        if self.sampled and not followed:
            return frozenset()
        inputs = self.criterion.inputs | ({"a"} if followed else set())
        return frozenset(need for key, need in TAPS.items() if key in inputs)


def _check_together(
    criterion: Criterion, selection: Selection, surgery: Surgery, selection_name: str, *, of_outputs: bool
) -> None:
    if of_outputs and not criterion.needs_gradients:
        raise ValueError(
            f"signal is 'outputs', but the criterion {criterion.name!r} takes no gradients; leave signal out"
        )
    if criterion.is_cost and surgery.outgoing == "keep":
        raise ValueError(
            f"surgery.outgoing is 'keep', but the criterion {criterion.name!r} is the cost of putting a known "
            "value in a unit's place; give outgoing 'zero' or 'small_random'"
        )
    if selection.needs_loss and not (criterion.is_cost and not of_outputs):
        raise ValueError(
            f"selection.name is {selection_name!r}, which needs utilities in units of loss; give the "
            "criterion 'gxd' and signal 'loss', or another selection"
        )
