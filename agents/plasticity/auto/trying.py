"""What the candidates of a closed loop make of copies, and which of these is to be applied."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.plasticity.auto.candidates import labels
from agents.plasticity.auto.decision import COST, column_of
from agents.plasticity.diagnostics.fit.probe import finite
from agents.plasticity.findings import NEGLIGIBLE
from agents.plasticity.outputs import are_numbers
from agents.plasticity.protocols import Learner
from agents.plasticity.seeds import derive_seed
from agents.plasticity.trials import (
    MINIBATCH,
    Outcome,
    become,
    built,
    looks_at_losses,
    on_a_copy,
    output_changes,
    scores_minibatches,
    try_out,
)

MINIBATCHES = 8
"""That are shown to a candidate which scores them."""
OVERHEAD = 96
"""What a gradient step of training takes beside its minibatch, in transitions of a fit probe (measured on a CPU)."""
ACTING = 1024
"""What it takes to have a candidate act on a copy and to look at its units, in transitions of a fit probe (measured on
a CPU); little beside the probes of trials for trainability, which are counted themselves."""
IS_ANOTHER = ""
"""Beside the names of networks: whether anything has changed."""


class Acted(NamedTuple):
    """A candidate that has acted on a copy.

    Attributes:
        label: its name.
        cost: at once; not finite where an output is not.
        is_another: whether it has changed anything, in any replica.
        outcome: what the copy has become.
    """

    label: str
    cost: float
    is_another: bool
    outcome: Outcome


class Ill(NamedTuple):
    """What is to be mended.

    Attributes:
        measure: ``<network>/<measure>``.
        value: what it is, a fresh network having 1.
        threshold: below which it is ill.
        again: takes it of the learner as it is; None where it is no finite number.
        most: that a remedy may cost at once.
        acting: what it counts to have a candidate act for its sake, in transitions that a fit probe learns from.
    """

    measure: str
    value: float
    threshold: float
    again: Callable[[], float | None]
    most: float = math.inf
    acting: int = 0


class Mended(NamedTuple):
    """What has come of trials.

    Attributes:
        measure: of the illness that is mended; where none is, of the first one.
        reason: in a sentence.
        by: the candidate that is to be applied; None for none.
        numbers: candidate -> ``cost`` and what ill measures are with it, see `Decision.trials`.
    """

    measure: str
    reason: str
    by: Acted | None
    numbers: Mapping[str, Mapping[str, float | None]]


class Trials:
    """Candidates that have each acted once on a copy of a learner.

    Args:
        learner: that nothing trains meanwhile; it stays as it is.
        given: candidates, as mappings of name and arguments.
        batch: observations on which outputs are compared.
        seed: of all that is drawn.

    Attributes:
        names: their labels.
        has_losses: whether outputs are finite numbers in all replicas; without, what looks at losses is not tried.
        spent: on having them act, in transitions that a fit probe learns from; a minibatch stands for its own and for
            `OVERHEAD`.
    """

    def __init__(self, learner: Learner, given: Sequence[Mapping[str, Any]], batch: Any, seed: int) -> None:
        self._learner, self._batch = learner, batch
        self.names = labels(given)
        self.spent = 0
        with torch.no_grad():
            self._outputs = {name: found.clone() for name, found in learner.outputs(batch).items()}
        # Without numbers there are no losses; and replicas, whose batches differ, must agree on what is tried.
        known = torch.tensor(float(are_numbers(self._outputs)), device=learner.device)
        self.has_losses = bool(learner.replicas.mean({"": known})[""] == 1)
        self._acted = sorted(self._all(given, seed), key=lambda each: each.cost)

    def mend(self, ills: Sequence[Ill]) -> Mended:
        """What mends the first of illnesses that anything does."""
        numbers: dict[str, dict[str, float | None]] = {name: {COST: None} for name in self.names}
        numbers |= {each.label: {COST: each.cost} for each in self._acted if math.isfinite(each.cost)}
        reasons: list[str] = []
        for ill in ills:
            self.spent += ill.acting * len(self._acted)
            best, after = self._remedy(ill)
            for label in self.names:
                numbers[label][column_of(ill.measure)] = after.get(label)
            told = ", ".join(f"{label} {_told(after, label, numbers[label][COST])}" for label in self.names)
            broken = "" if self.has_losses else ", for outputs are no finite numbers"
            text = (
                f"{ill.measure} is {ill.value:.2f} of a fresh network's, below {ill.threshold:g}{broken}; with {told}"
            )
            if best is not None:
                enough = (after[best.label] or 0.0) >= ill.threshold
                why = "brings it back at the least cost" if enough else "comes furthest"
                return Mended(ill.measure, "; ".join([*reasons, f"{text}; {best.label} {why}"]), best, numbers)
            at = "" if ill.most == math.inf else f" at a cost of at most {ill.most:g}"
            reasons.append(f"{text}; none regains {NEGLIGIBLE}{at}")
        return Mended(ills[0].measure, "; ".join(reasons), None, numbers)

    def _remedy(self, ill: Ill) -> tuple[Acted | None, dict[str, float | None]]:
        """The first that is enough, the cheapest first; or else the one that comes furthest, if it regains a tenth.

        Returns:
            It, None where none helps; and candidate -> what the ill measure is with it, of those that were looked at.
        """
        found: dict[str, float | None] = {}
        best, highest = None, -math.inf
        for each in self._acted:
            if not math.isfinite(each.cost) or each.cost > ill.most:
                continue
            if not each.is_another:  # the measure would give the same again
                found[each.label] = ill.value
                continue
            with become(self._learner, each.outcome):
                after = found[each.label] = ill.again()
            if after is None or (after - ill.value < NEGLIGIBLE and after < ill.threshold):
                continue
            if after > highest:
                best, highest = each, after
            if after >= ill.threshold:
                break
        return best, found

    def _all(self, given: Sequence[Mapping[str, Any]], seed: int) -> Iterator[Acted]:
        for number, (label, candidate) in enumerate(zip(self.names, given, strict=True)):
            if self.has_losses or not looks_at_losses(built(candidate)):
                yield self._act(label, candidate, derive_seed(seed, number))

    def _act(self, label: str, given: Mapping[str, Any], seed: int) -> Acted:
        """What a candidate makes of a copy."""
        learner, intervention = self._learner, built(given)
        if scores_minibatches(intervention):
            self.spent += MINIBATCHES * ((learner.batch_size or MINIBATCH) + OVERHEAD)
        with on_a_copy(learner, seed) as copied:
            try_out(copied, intervention, MINIBATCHES)
            with torch.no_grad():
                after = learner.outputs(self._batch)
                # Nothing is lost of what is no number.
                before = {name: each.where(each.isfinite(), after[name]) for name, each in self._outputs.items()}
                changes: dict[str, Tensor] = output_changes(learner.output_forms, before, after)
            outcome = copied.outcome()
        # All in one transfer; and replicas, which look together, must agree on what is to be looked at.
        told = finite(learner.replicas.mean({**changes, IS_ANOTHER: outcome.is_another(learner).float()}))
        is_another = told.pop(IS_ANOTHER) > 0
        return Acted(label, sum(told.values()) if len(told) == len(changes) else math.inf, is_another, outcome)


def _told(found: Mapping[str, float | None], label: str, cost: float | None) -> str:
    after = found.get(label)
    if cost is None or (label in found and after is None):
        return "nothing finite"
    return f"at a cost of {cost:.2g} not looked at" if after is None else f"{after:.2f} at a cost of {cost:.2g}"
