"""The intervention that watches trainability, and decides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.plasticity.auto.candidates import THREE, labels, refuse_unfit
from agents.plasticity.auto.decision import NONE, Decision
from agents.plasticity.auto.gauge import FEWEST, OBSERVATIONS, Gauge, Look
from agents.plasticity.diagnostics.fit.probe import check_sizes, finite
from agents.plasticity.findings import NEGLIGIBLE
from agents.plasticity.network_intervention import check_steps
from agents.plasticity.outputs import are_numbers
from agents.plasticity.protocols import Intervention, Learner, NoDataError
from agents.plasticity.seeds import derive_seed
from agents.plasticity.trials import (
    MINIBATCH,
    Outcome,
    become,
    built,
    described,
    fitting,
    looks_at_losses,
    on_a_copy,
    output_changes,
    scores_minibatches,
    try_out,
)
from agents.plasticity.validation import check

MINIBATCHES = 8
"""That are shown to a candidate which scores them."""
IS_ANOTHER = ""
"""Beside the names of networks: whether anything has changed."""
OVERHEAD = 96
"""What a gradient step of training takes beside its minibatch, in transitions of a fit probe (measured on a CPU)."""


class _Acted(NamedTuple):
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


class Auto(Intervention):
    """The closed loop: watch trainability, try remedies on copies, apply the one that helps at the least cost, or none.

    At every `period` gradient steps the fit probe (`agents.plasticity.trainability`) looks at copies of the networks,
    whatever task they are in; no boundary is needed. As long as its lowest measure is at least `threshold` of what a
    fresh network has, nothing else is done, and training is what it is without this, to the bit. Measures that tell
    nothing, because little of the error is removed even of a fresh network (less than a tenth), do not count. One that
    is below the threshold is taken again, beside a fresh network on the same observations: a policy's by what another
    network pays, and one of outputs with up to three times the steps, for some only begin slowly.

    Where one stays below, each candidate acts once on a copy, as at the end of a period of its own or at a task switch,
    all units counting as mature. Copies that are changed by it are put to the same probe again, in the order of what
    they cost at once: the sum over networks of the KL of a policy, or of the mean square change of values over their
    mean square. The first that brings what was ill back to the threshold is applied, and dearer ones are not looked at.
    If none does, it is the one that comes furthest, where it regains at least a tenth of what a fresh network has; else
    none. What is applied is what was tried: the learner becomes that copy. Candidates are what acts at once; penalties
    have no such moment.

    The method is ours; its parts are those of `diagnosis.match`. GPUs are waited for at a look alone.

    Args:
        candidates: names of interventions, or mappings of a name and arguments; None for redo, which may redraw whole
            layers here (`allow_full`), shrink_and_perturb in boundary mode, and head_reset.
        period: gradient steps between two looks, at least. Less sees trouble sooner and costs more.
        threshold: trainability, 1 being a fresh network's, below which candidates are tried. More acts sooner.
        budget: the share of training's compute that looks and trials may take, counted in transitions that are
            learnt from, so that it does not depend on the machine; the next look waits until the last ones keep to it.
        steps: gradient steps of every measure; None for as few as tell something: 5, doubled, up to 160, until of the
            error of a fresh network they remove a tenth.
    """

    name = "auto"
    _gauge: Gauge

    def __init__(
        self,
        *,
        candidates: Sequence[str | Mapping[str, Any]] | None = None,
        period: int = 100,
        threshold: float = 0.5,
        budget: float = 0.04,
        steps: int | None = None,
    ) -> None:
        check_steps("period", period, 1)
        check("threshold", threshold, 0 < threshold < math.inf, "a share of a fresh network's trainability above 0")
        check("budget", budget, 0 < budget < math.inf, "a share of training's compute above 0")
        check_sizes(FEWEST if steps is None else steps, 1)
        given = THREE if candidates is None else candidates
        listed = isinstance(given, Sequence) and not isinstance(given, str) and len(given) > 0
        check("candidates", candidates, listed, "a list of interventions")
        self.candidates = None if candidates is None else list(candidates)
        self.period, self.threshold, self.budget, self.steps = period, threshold, budget, steps
        self._given = [described(candidate) for candidate in given]
        for each in self._given:
            refuse_unfit(each)
        self.decisions = 0
        """How many have been made."""
        self.last: Decision | None = None
        """The newest one."""

    def attach(self, learner: Learner) -> None:
        self._learner = learner
        self._seed = derive_seed(torch.initial_seed() if learner.seed is None else learner.seed, self.name)
        self._begun = self._looked = learner.optimizer_steps
        # Where modules were replaced it is attached anew, and its state put back, which is of others.
        measured = self._gauge.measured if hasattr(self, "_gauge") else None
        self._gauge = Gauge(learner, self._seed, self.steps, measured)
        self._acts = 0
        for given in self._given:
            try:
                with on_a_copy(learner, self._seed) as copied:
                    fitting(copied, built(given))
            except (ValueError, NotImplementedError) as error:
                why = str(error).removeprefix(f"{given['name']}: ")
                raise ValueError(f"{self.name}: candidates has {given['name']!r}, which does not fit: {why}") from error

    def claims(self) -> dict[str, list[str]]:
        return {"decide what {} need": ["the networks"]}

    def hindrance(self, steps: int) -> str | None:
        now = self._learner.optimizer_steps
        return f"period {self.period:,}" if now // self.period == (now + steps) // self.period else None

    def idle(self) -> str | None:
        if self.last is None:
            return f"trainability was not looked at yet (period {self.period:,})"
        return None if self._acts else self.last.reason

    # ------------------------------------------------------------------ when

    def after_update(self) -> None:
        now = self._learner.optimizer_steps
        if now // self.period == self._looked // self.period or self._gauge.spent > self.budget * self._learnt:
            return
        try:
            self._decide()
        except NoDataError as error:
            raise ValueError(f"{self.name}: it looks at a sample of the data at hand, but {error}") from error
        self._looked = now

    @property
    def _learnt(self) -> int:
        """Transitions that training has learnt from since this was attached, with what stands for its steps."""
        steps = self._learner.optimizer_steps - self._begun
        return steps * ((self._learner.batch_size or 0) + OVERHEAD)

    # ------------------------------------------------------------------ what

    def _decide(self) -> None:
        learner, seed = self._learner, derive_seed(self._seed, self.decisions)
        batch = learner.sample(OBSERVATIONS, torch.Generator().manual_seed(seed))
        look = self._gauge.look(batch, self.threshold)
        if look.fresh is not None:
            self._try(batch, look, seed)
        elif look.lowest is not None:
            self._note(look, NONE, f"well: {look.measure} is the lowest, {look.lowest:.2f} of a fresh network's")
        elif look.measure:
            self._note(
                look._replace(measure=""), NONE, f"nothing can be told: {look.measure} seemed ill, but of a fresh "
                f"network that was trained again less than {NEGLIGIBLE} of the error is removed, too",
            )  # fmt: skip
        elif any(share.removed >= NEGLIGIBLE for share in self._gauge.fresh.values()):
            self._note(look, NONE, "nothing can be told: the error of the networks as they are is 0")
        elif not self._gauge.fresh:
            self._note(look, NONE, "nothing can be told: fresh networks put out the same for all observations")
        else:
            most = max((share.steps for share in self._gauge.fresh.values()), default=0)
            self._note(look, NONE, f"nothing can be told: {most:,} steps at this learning rate remove less than "
                       f"{NEGLIGIBLE} of the error even of a fresh network")  # fmt: skip

    def _try(self, batch: Any, look: Look, seed: int) -> None:
        """Look at what the candidates have made of copies, the cheapest first, till one is enough."""
        learner, lowest = self._learner, look.lowest
        assert lowest is not None
        with torch.no_grad():
            outputs = {name: found.clone() for name, found in learner.outputs(batch).items()}
        # Without numbers there are no losses; and replicas, whose batches differ, must agree on what is tried.
        known = torch.tensor(float(are_numbers(outputs)), device=learner.device)
        has_losses = bool(learner.replicas.mean({"": known})[""] == 1)
        names = labels(self._given)
        numbers: dict[str, tuple[float | None, float | None]] = dict.fromkeys(names, (None, None))
        acted = [
            self._acted(label, given, batch, outputs, derive_seed(seed, i))
            for i, (label, given) in enumerate(zip(names, self._given, strict=True))
            if has_losses or not looks_at_losses(built(given))
        ]
        numbers |= {each.label: (None, each.cost) for each in acted if math.isfinite(each.cost)}
        best, highest = None, -math.inf
        for each in sorted(acted, key=lambda each: each.cost):
            if not math.isfinite(each.cost):
                continue
            if not each.is_another:  # the probe would give the same again
                numbers[each.label] = lowest, 0.0
                continue
            with become(learner, each.outcome):
                after = self._gauge.again(batch, look)
            numbers[each.label] = after, None if after is None else each.cost
            if after is None or (after - lowest < NEGLIGIBLE and after < self.threshold):
                continue
            if after > highest:
                best, highest = each, after
            if after >= self.threshold:
                break
        told = ", ".join(f"{label} {_told(*of)}" for label, of in numbers.items())
        broken = "" if has_losses else ", for outputs are no finite numbers"
        reason = f"{look.measure} is {lowest:.2f} of a fresh network's, below {self.threshold:g}{broken}; with {told}"
        if best is None:
            self._note(look, NONE, f"{reason}; none regains {NEGLIGIBLE}", numbers)
            return
        best.outcome.put_into(learner, self)
        self._acts += 1
        why = "comes furthest" if highest < self.threshold else "brings it back at the least cost"
        self._note(look, best.label, f"{reason}; {best.label} {why}", numbers)

    def _acted(
        self, label: str, given: Mapping[str, Any], batch: Any, outputs: Mapping[str, Tensor], seed: int
    ) -> _Acted:
        """What a candidate makes of a copy."""
        learner, intervention = self._learner, built(given)
        if scores_minibatches(intervention):
            self._gauge.spent += MINIBATCHES * ((learner.batch_size or MINIBATCH) + OVERHEAD)
        with on_a_copy(learner, seed) as copied:
            try_out(copied, intervention, MINIBATCHES)
            with torch.no_grad():
                after = learner.outputs(batch)
                before = {name: each.where(each.isfinite(), after[name]) for name, each in outputs.items()}
                changes = output_changes(learner.output_forms, before, after)  # nothing is lost of what is no number
            outcome = copied.outcome()
        # All in one transfer; and replicas, which probe together, must agree on what is to be probed.
        told = finite(learner.replicas.mean({**changes, IS_ANOTHER: outcome.is_another(learner).float()}))
        is_another = told.pop(IS_ANOTHER) > 0
        return _Acted(label, sum(told.values()) if len(told) == len(changes) else math.inf, is_another, outcome)

    def _note(
        self, look: Look, applied: str, reason: str, trials: Mapping[str, Sequence[float | None]] | None = None
    ) -> None:
        learner = self._learner
        self.decisions += 1
        step, timesteps = learner.optimizer_steps, learner.num_timesteps
        self.last = Decision(step, timesteps, look.measure, look.lowest, applied, reason, trials or {})

    # ------------------------------------------------------------------ state and log

    def state_dict(self) -> dict[str, Any]:
        return {
            "seed": self._seed,
            "begun": self._begun,
            "looked": self._looked,
            "acts": self._acts,
            "gauge": self._gauge.state(),
            "decisions": self.decisions,
            "last": [] if self.last is None else [asdict(self.last)],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._seed, self._begun, self._looked = state["seed"], state["begun"], state["looked"]
        self._acts = state["acts"]
        self._gauge = Gauge(self._learner, self._seed, self.steps, self._gauge.measured)  # of the seed that was saved
        if "gauge" in state:
            self._gauge.restore(state["gauge"])
        else:  # of a version that looked at all measures with as many steps
            self._gauge.spent = state["spent"]
        self.decisions = state["decisions"]
        self.last = Decision(**state["last"][0]) if state["last"] else None

    def metrics(self) -> dict[str, float]:
        """``trainability``, the lowest one of the last look; ``decisions`` and ``acts`` so far, and ``share`` of
        training's compute that looks and trials have taken."""
        found = {"decisions": float(self.decisions), "acts": float(self._acts)}
        found["share"] = self._gauge.spent / max(self._learnt, 1)
        if self.last is not None and self.last.trainability is not None:
            found["trainability"] = self.last.trainability
        return found


def _told(after: float | None, cost: float | None) -> str:
    if cost is None:
        return "nothing finite"
    return f"at a cost of {cost:.2g} not looked at" if after is None else f"{after:.2f} at a cost of {cost:.2g}"
