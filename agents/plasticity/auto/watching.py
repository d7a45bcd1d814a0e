"""The intervention that watches trainability, and decides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from agents.plasticity.auto.candidates import THREE, refuse_unfit
from agents.plasticity.auto.decision import NONE, Decision
from agents.plasticity.auto.gauge import FEWEST, OBSERVATIONS, Gauge, Look
from agents.plasticity.auto.living import LivingUnits
from agents.plasticity.auto.trying import ACTING, OVERHEAD, Ill, Mended, Trials
from agents.plasticity.diagnostics.fit.probe import check_sizes
from agents.plasticity.findings import NEGLIGIBLE
from agents.plasticity.network_intervention import check_steps
from agents.plasticity.protocols import Intervention, Learner, NoDataError
from agents.plasticity.seeds import derive_seed
from agents.plasticity.trials import built, described, fitting, on_a_copy
from agents.plasticity.validation import check

LITTLE = 0.01
"""What reviving units may cost at once: half of what an update of PPO changes a policy by (KL)."""


class Auto(Intervention):
    """The closed loop: watch trainability, try remedies on copies, apply the one that helps at the least cost, or none.

    At every `period` gradient steps the fit probe (`agents.plasticity.trainability`) looks at copies of the networks,
    whatever task they are in; no boundary is needed. As long as its lowest measure is at least `threshold` of what a
    fresh network has, and units are not dormant either (below), nothing else is done, and training is what it is
    without this, to the bit. Measures that tell nothing, because little of the error is removed even of a fresh network
    (less than a tenth), do not count. One that is below the threshold is taken again, beside a fresh network on the
    same observations: a policy's by what another network pays, and one of outputs with up to three times the steps, for
    some only begin slowly.

    Where one stays below, each candidate acts once on a copy, as at the end of a period of its own or at a task switch,
    all units counting as mature. Copies that are changed by it are put to the same probe again, in the order of what
    they cost at once: the sum over networks of the KL of a policy, or of the mean square change of values over their
    mean square. The first that brings what was ill back to the threshold is applied, and dearer ones are not looked at.
    If none does, it is the one that comes furthest, where it regains at least a tenth of what a fresh network has; else
    none. What is applied is what was tried: the learner becomes that copy. Candidates are what acts at once; penalties
    have no such moment.

    Networks in which ever more units go dormant may be trained well for long, while returns fall (benchmarks/README.md,
    permuted Breakout), and dormant units can be replaced at nearly no cost. So where nothing is applied for the sake of
    trainability, and of a network less than `living` of the share of units lives that does of the worst of eight fresh
    ones on the same observations, the same is done by this measure, with candidates that cost at most 0.01 at once. It
    is not looked at where fewer than 16 observations differ, for what is silent on these may be needed on others.

    The method is ours; its parts are those of `diagnosis.match`. GPUs are waited for at a look alone.

    Args:
        candidates: names of interventions, or mappings of a name and arguments; None for redo, which may redraw whole
            layers here (`allow_full`), shrink_and_perturb in boundary mode, and head_reset.
        period: gradient steps between two looks, at least. Less sees trouble sooner and costs more.
        threshold: trainability, 1 being a fresh network's, below which candidates are tried. More acts sooner.
        living: share of units that are not dormant (arXiv 2302.12902, threshold 0.025), 1 being a fresh network's,
            below which candidates that cost next to nothing are tried. More acts sooner, 0 never.
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
        living: float = 0.9,
        budget: float = 0.04,
        steps: int | None = None,
    ) -> None:
        check_steps("period", period, 1)
        check("threshold", threshold, 0 < threshold < math.inf, "a share of a fresh network's trainability above 0")
        check("living", living, 0 <= living < math.inf, "a share of a fresh network's living units of at least 0")
        check("budget", budget, 0 < budget < math.inf, "a share of training's compute above 0")
        check_sizes(FEWEST if steps is None else steps, 1)
        given = THREE if candidates is None else candidates
        listed = isinstance(given, Sequence) and not isinstance(given, str) and len(given) > 0
        check("candidates", candidates, listed, "a list of interventions")
        self.candidates = None if candidates is None else list(candidates)
        self.period, self.threshold, self.living = period, threshold, living
        self.budget, self.steps = budget, steps
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
        ills = [] if look.fresh is None else [self._untrainable(batch, look)]
        units = LivingUnits(learner, batch, seed)
        living = units.look(self.living) if self.living else {}
        self._gauge.spent += units.spent
        least = min(living, key=living.__getitem__, default=None)
        if least is not None and living[least] < self.living:
            ills.append(Ill(least, living[least], self.living, partial(units.again, least), LITTLE, ACTING))
        mended = self._mend(ills, batch, seed) if ills else self._well(look, living)
        self.decisions += 1
        self.last = Decision(
            step=learner.optimizer_steps,
            timesteps=learner.num_timesteps,
            measure=mended.measure,
            trainability=look.lowest,
            living_units=None if least is None else living[least],
            applied=NONE if mended.by is None else mended.by.label,
            reason=mended.reason,
            trials=mended.numbers,
        )

    def _untrainable(self, batch: Any, look: Look) -> Ill:
        assert look.lowest is not None
        return Ill(look.measure, look.lowest, self.threshold, partial(self._gauge.again, batch, look))

    def _mend(self, ills: Sequence[Ill], batch: Any, seed: int) -> Mended:
        """Try the candidates, and apply the one that helps, if one does."""
        learner = self._learner
        trials = Trials(learner, self._given, batch, seed)
        mended = trials.mend(ills)
        self._gauge.spent += trials.spent
        if mended.by is not None:
            mended.by.outcome.put_into(learner, self)
            self._acts += 1
        return mended

    def _well(self, look: Look, living: Mapping[str, float]) -> Mended:
        """Why nothing is tried."""
        if look.lowest is not None:
            why = f"well: {look.measure} is the lowest, {look.lowest:.2f} of a fresh network's"
            return Mended(look.measure, why, None, {})
        fresh = self._gauge.fresh.values()
        if look.measure:
            why = (
                f"{look.measure} seemed ill, but of a fresh network that was trained again less than {NEGLIGIBLE} of "
                "the error is removed, too"
            )
        elif any(share.removed >= NEGLIGIBLE for share in fresh):
            why = "the error of the networks as they are is 0"
        elif not fresh:
            why = "fresh networks put out the same for all observations"
        else:
            most = max(share.steps for share in fresh)
            why = f"{most:,} steps at this learning rate remove less than {NEGLIGIBLE} of a fresh network's error, too"
        return Mended("", f"nothing can be told{' of trainability' if living else ''}: {why}", None, {})

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
        self.last = Decision.of(state["last"][0]) if state["last"] else None

    def metrics(self) -> dict[str, float]:
        """The lowest ``trainability`` and ``living_units`` of the last look; ``decisions`` and ``acts`` so far, and the
        ``share`` of training's compute that looks and trials have taken."""
        found = {"decisions": float(self.decisions), "acts": float(self._acts)}
        found["share"] = self._gauge.spent / max(self._learnt, 1)
        if self.last is not None and self.last.trainability is not None:
            found["trainability"] = self.last.trainability
        if self.last is not None and self.last.living_units is not None:
            found["living_units"] = self.last.living_units
        return found
