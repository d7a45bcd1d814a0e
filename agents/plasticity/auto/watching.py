"""The intervention that watches trainability, and decides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.plasticity.auto.decision import NONE, WAITS, Decision
from agents.plasticity.diagnostics.fit.probe import STEPS, check_sizes, errors_removed, finite, measures, rates
from agents.plasticity.findings import NEGLIGIBLE
from agents.plasticity.fresh import fresh_parameters
from agents.plasticity.network_intervention import check_steps
from agents.plasticity.protocols import Intervention, Learner, NoDataError
from agents.plasticity.seeds import derive_seed
from agents.plasticity.trials import (
    MINIBATCH,
    Candidate,
    Outcome,
    acts_gradually,
    built,
    described,
    fitting,
    no_remedy,
    on_a_copy,
    output_changes,
    scores_minibatches,
    try_out,
)
from agents.plasticity.units import Network
from agents.plasticity.validation import check

THREE: tuple[Candidate, ...] = ("redo", {"name": "shrink_and_perturb", "mode": "boundary"}, "head_reset")
OBSERVATIONS = 128
MINIBATCHES = 32
"""That are shown to a candidate which scores them."""
OVERHEAD = 64
"""What a gradient step of training takes beside its minibatch, in transitions of a fit probe (measured on a CPU)."""


class _Tried(NamedTuple):
    """A candidate, tried.

    Attributes:
        rank: the lower, the better: those that bring trainability back by what they cost, then the others by how far
            they come; None for one that does not help.
        outcome: what the copy has become.
        numbers: as in `Decision.trials`.
    """

    rank: tuple[bool, float] | None
    outcome: Outcome
    numbers: tuple[float | None, float | None]


class Auto(Intervention):
    """The closed loop: watch trainability, try remedies on copies, apply the one that helps at the least cost, or none.

    At every `period` gradient steps the fit probe (`agents.plasticity.trainability`) looks at copies of the networks,
    whatever task they are in; no boundary is needed. As long as its lowest measure is at least `threshold` of what a
    fresh network has, nothing else is done, and training is what it is without this, to the bit. Measures that tell
    nothing, because little of the error is removed even of a fresh network (less than a tenth), do not count.

    Below the threshold each candidate acts once on a copy, as at the end of a period of its own or at a task switch,
    all units counting as mature, and the copy is put to the probe, with the same observations and targets. Of those
    that bring the lowest measure back to the threshold the one is applied that costs least at once: the sum over
    networks of the KL of a policy, or of the mean square change of values over their mean square. If none does, it is
    the one that comes furthest, where it regains at least a tenth of what a fresh network has; else none. What is
    applied is what was tried: the learner becomes that copy. Candidates are what acts at once; penalties have no such
    moment.

    The method is ours; its parts are those of `diagnosis.match`. GPUs are waited for at a look alone.

    Args:
        candidates: names of interventions, or mappings of a name and arguments; None for redo, shrink_and_perturb in
            boundary mode, and head_reset.
        period: gradient steps between two looks, at least. Less sees trouble sooner and costs more.
        threshold: trainability, 1 being a fresh network's, below which candidates are tried. More acts sooner.
        budget: the share of training's compute that looks and trials may take, counted in transitions that are
            learnt from, so that it does not depend on the machine; looks and trials wait until they keep to it.
        steps: gradient steps of the fit probe; more tell more at low learning rates, and cost as much more.
    """

    name = "auto"

    def __init__(
        self,
        *,
        candidates: Sequence[str | Mapping[str, Any]] | None = None,
        period: int = 2000,
        threshold: float = 0.5,
        budget: float = 0.04,
        steps: int = STEPS,
    ) -> None:
        check_steps("period", period, 1)
        check("threshold", threshold, 0 < threshold < math.inf, "a share of a fresh network's trainability above 0")
        check("budget", budget, 0 < budget < math.inf, "a share of training's compute above 0")
        check_sizes(steps, 1)
        given = THREE if candidates is None else candidates
        listed = isinstance(given, Sequence) and not isinstance(given, str) and len(given) > 0
        check("candidates", candidates, listed, "a list of interventions")
        self.candidates = None if candidates is None else list(candidates)
        self.period, self.threshold, self.budget, self.steps = period, threshold, budget, steps
        self._given = [described(candidate) for candidate in given]
        for each in self._given:
            _refuse_unfit(each)
        self.decisions = 0
        """How many have been made."""
        self.last: Decision | None = None
        """The newest one."""
        self._measured: dict[str, Network] | None = None  # graphs whose fresh ones are known

    def attach(self, learner: Learner) -> None:
        self._learner = learner
        self._seed = derive_seed(torch.initial_seed() if learner.seed is None else learner.seed, self.name)
        self._begun = self._looked = learner.optimizer_steps
        self._spent = 0  # transitions
        self._acts = 0
        self._ill = False  # at the last look, and trials wait
        self._fresh: dict[str, float] = {}
        self._rates: list[float] = []
        self._probe_cost = len(measures(learner)) * self.steps * OBSERVATIONS
        scoring = sum(scores_minibatches(built(given)) for given in self._given)
        shown = scoring * MINIBATCHES * ((learner.batch_size or MINIBATCH) + OVERHEAD)
        self._trial_cost = len(self._given) * self._probe_cost + shown
        for given in self._given:
            try:
                with on_a_copy(learner, self._seed) as copied:
                    fitting(copied, built(given))
            except (ValueError, NotImplementedError) as error:
                why = str(error).removeprefix(f"{_label(given)}: ")
                raise ValueError(f"{self.name}: candidates has {_label(given)!r}, which does not fit: {why}") from error

    def claims(self) -> dict[str, list[str]]:
        return {"decide what {} need": ["the networks"]}

    def hindrance(self, steps: int) -> str | None:
        now = self._learner.optimizer_steps
        return f"period {self.period:,}" if now // self.period == (now + steps) // self.period else None

    def idle(self) -> str | None:
        if self.last is None:
            return f"trainability was not looked at yet (period {self.period:,}, budget {self.budget:g})"
        return None if self._acts else self.last.reason

    # ------------------------------------------------------------------ when

    def after_update(self) -> None:
        now = self._learner.optimizer_steps
        if now // self.period == self._looked // self.period:
            return
        cost = self._look_cost() + (self._trial_cost if self._ill else 0)
        if not self._may_spend(cost):
            return
        try:
            self._decide()
        except NoDataError as error:
            raise ValueError(f"{self.name}: it looks at a sample of the data at hand, but {error}") from error
        self._looked = now

    def _may_spend(self, transitions: int) -> bool:
        return self._spent + transitions <= self.budget * self._learnt

    @property
    def _learnt(self) -> int:
        """Transitions that training has learnt from since this was attached, with what stands for its steps."""
        steps = self._learner.optimizer_steps - self._begun
        return steps * ((self._learner.batch_size or 0) + OVERHEAD)

    def _look_cost(self) -> int:
        return self._probe_cost * (1 if self._knows_fresh else 2)

    @property
    def _knows_fresh(self) -> bool:
        """Whether what is removed of a fresh network is known: of these modules, at these learning rates."""
        learner = self._learner
        return bool(self._fresh) and self._rates == rates(learner) and self._measured == dict(learner.networks)

    # ------------------------------------------------------------------ what

    def _decide(self) -> None:
        learner, seed = self._learner, derive_seed(self._seed, self.decisions)
        self._spent += self._look_cost()
        batch = learner.sample(OBSERVATIONS, torch.Generator().manual_seed(seed))
        if not self._knows_fresh:
            self._rates, self._measured = rates(learner), dict(learner.networks)
            self._fresh = self._removed(batch, fresh_parameters(learner, self._seed, "fresh"))
        measure, lowest = self._lowest(batch)
        if lowest is None and any(fresh >= NEGLIGIBLE for fresh in self._fresh.values()):
            self._note("", None, NONE, "nothing can be told: the error of the networks as they are is 0, or no finite "
                       "number")  # fmt: skip
        elif lowest is None:
            self._note("", None, NONE, f"nothing can be told: {self.steps:,} steps at this learning rate remove less "
                       f"than {NEGLIGIBLE} of the error even of a fresh network")  # fmt: skip
        elif lowest >= self.threshold:
            self._note(measure, lowest, NONE, f"well: {measure} is the lowest, {lowest:.2f} of a fresh network's")
        elif not self._may_spend(self._trial_cost):
            self._note(measure, lowest, WAITS, f"{self._ills(measure, lowest)}; trials wait for the budget")
            self._ill = True
            return
        else:
            self._spent += self._trial_cost
            self._try_all(batch, measure, lowest, seed)
        self._ill = False

    def _try_all(self, batch: Any, measure: str, lowest: float, seed: int) -> None:
        learner = self._learner
        with torch.no_grad():
            outputs = {name: found.clone() for name, found in learner.outputs(batch).items()}
        best: tuple[str, tuple[bool, float], Outcome] | None = None
        numbers: dict[str, tuple[float | None, float | None]] = {}
        for number, (label, given) in enumerate(zip(_labels(self._given), self._given, strict=True)):
            tried = self._tried(given, batch, outputs, lowest, derive_seed(seed, number))
            numbers[label] = tried.numbers
            if tried.rank is not None and (best is None or tried.rank < best[1]):
                best = label, tried.rank, tried.outcome
        told = ", ".join(f"{label} {_told(*of)}" for label, of in numbers.items())
        reason = f"{self._ills(measure, lowest)}; with {told}"
        if best is None:
            self._note(measure, lowest, NONE, f"{reason}; none regains {NEGLIGIBLE}", numbers)
            return
        label, (falls_short, _), outcome = best
        outcome.put_into(learner, self)
        self._acts += 1
        why = "comes furthest" if falls_short else "brings it back at the least cost"
        self._note(measure, lowest, label, f"{reason}; {label} {why}", numbers)

    def _tried(
        self, given: Mapping[str, Any], batch: Any, outputs: Mapping[str, Tensor], lowest: float, seed: int
    ) -> _Tried:
        learner = self._learner
        with on_a_copy(learner, seed) as copied:
            try_out(copied, built(given), MINIBATCHES)
            with torch.no_grad():
                changes = output_changes(learner.output_forms, outputs, learner.outputs(batch))
            costs = finite(learner.replicas.mean(changes))
            _, after = self._lowest(batch)
            outcome = copied.outcome()
        if after is None or len(costs) < len(changes):
            return _Tried(None, outcome, (None, None))
        cost = sum(costs.values())
        restored = after >= self.threshold
        rank = (False, cost) if restored else (True, -after) if after - lowest >= NEGLIGIBLE else None
        return _Tried(rank, outcome, (after, cost))

    def _removed(self, batch: Any, parameters: Mapping[str, Tensor]) -> dict[str, float]:
        """Shares of the error that training removes, of all replicas together."""
        found = errors_removed(self._learner, batch, parameters, seed=self._seed, steps=self.steps)
        return finite(self._learner.replicas.mean(found))

    def _lowest(self, batch: Any) -> tuple[str, float | None]:
        """The measure that is lowest beside a fresh network's, of those that tell something, and how low it is."""
        removed = self._removed(batch, self._learner.snapshot())
        told = {key: fresh for key, fresh in self._fresh.items() if fresh >= NEGLIGIBLE}
        known = [(removed[key] / fresh, key) for key, fresh in told.items() if key in removed]
        lowest, key = min(known, default=(None, ""))
        return key, lowest

    def _ills(self, measure: str, lowest: float) -> str:
        return f"{measure} is {lowest:.2f} of a fresh network's, below {self.threshold:g}"

    def _note(
        self,
        measure: str,
        lowest: float | None,
        applied: str,
        reason: str,
        trials: Mapping[str, Sequence[float | None]] | None = None,
    ) -> None:
        learner = self._learner
        self.decisions += 1
        step, timesteps = learner.optimizer_steps, learner.num_timesteps
        self.last = Decision(step, timesteps, measure, lowest, applied, reason, trials or {})

    # ------------------------------------------------------------------ state and log

    def state_dict(self) -> dict[str, Any]:
        return {
            "seed": self._seed,
            "begun": self._begun,
            "looked": self._looked,
            "spent": self._spent,
            "acts": self._acts,
            "ill": self._ill,
            "fresh": [[key, value] for key, value in self._fresh.items()],
            "rates": list(self._rates),
            "decisions": self.decisions,
            "last": [] if self.last is None else [asdict(self.last)],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._seed, self._begun, self._looked = state["seed"], state["begun"], state["looked"]
        self._spent, self._acts, self._ill = state["spent"], state["acts"], state["ill"]
        self._rates = list(state["rates"])
        self._fresh = dict(state["fresh"])
        if self._measured is None:  # a state that is put back where modules were replaced is of others
            self._measured = dict(self._learner.networks)
        self.decisions = state["decisions"]
        self.last = Decision(**state["last"][0]) if state["last"] else None

    def metrics(self) -> dict[str, float]:
        """``trainability``, the lowest one of the last look; ``decisions`` and ``acts`` so far, and ``share`` of
        training's compute that looks and trials have taken."""
        found = {"decisions": float(self.decisions), "acts": float(self._acts)}
        found["share"] = self._spent / max(self._learnt, 1)
        if self.last is not None and self.last.trainability is not None:
            found["trainability"] = self.last.trainability
        return found


def _told(after: float | None, cost: float | None) -> str:
    return "nothing finite" if after is None or cost is None else f"{after:.2f} at a cost of {cost:.2g}"


def _label(given: Mapping[str, Any]) -> str:
    name: str = given["name"]
    return name


def _labels(candidates: Sequence[Mapping[str, Any]]) -> list[str]:
    """Their names, the second ``redo`` as ``redo_2``."""
    names = [_label(given) for given in candidates]
    met = [names[: number + 1].count(name) for number, name in enumerate(names)]
    return [name if times == 1 else f"{name}_{times}" for name, times in zip(names, met, strict=True)]


def _refuse_unfit(given: Mapping[str, Any]) -> None:
    """Refuse a candidate that cannot be built, or that does not act at once.

    Raises:
        ValueError: it is one.
    """
    name = _label(given)
    if why := no_remedy(given):
        raise ValueError(f"candidates has {name!r}, but {why}")
    try:
        intervention = built(given)
    except ValueError as error:
        raise ValueError(f"candidates has {name!r}, but {error}") from error
    if acts_gradually(intervention):
        raise ValueError(
            f"candidates has {name!r}, which acts in every gradient step, so that no single act can be tried; list it "
            "among interventions itself"
        )
