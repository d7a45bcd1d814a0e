"""How well networks can be trained beside fresh ones, in as few gradient steps as tell ill ones from well ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from agents.plasticity.diagnostics.fit.probe import POLICY, errors_removed, finite, measures, rates
from agents.plasticity.findings import NEGLIGIBLE
from agents.plasticity.fresh import fresh_parameters
from agents.plasticity.protocols import Learner
from agents.plasticity.seeds import derive_seed
from agents.plasticity.units import Network

OBSERVATIONS = 128
FEWEST, MOST = 5, 160
"""Gradient steps of a measure at a look. A saturated policy loses nothing in 5 where a fresh one loses a tenth."""
SURE = 3
"""Times the steps with which outputs that seem ill are taken again."""
KEPT = 4
"""Looks for which a fresh network's shares hold: observations drift, and fresh networks fit some sooner than others."""
BEGUN = 4
"""What a measure takes beside its gradient steps, in such steps (measured on a CPU)."""


class Share(NamedTuple):
    """What a fresh network loses of an error.

    Attributes:
        steps: gradient steps that remove it.
        removed: the share.
    """

    steps: int
    removed: float


class Look(NamedTuple):
    """What has been seen.

    Attributes:
        measure: ``<network>/<measure>``, the lowest one; where nothing can be told, one that seemed ill and of which
            nothing could be told when it was taken again, else empty.
        lowest: what it is, a fresh network having 1; None where nothing can be told.
        fresh: where it is below the threshold, the share of the fresh network that it is beside, on the same
            observations.
        seed: of that network, and of the one whose outputs are to be learnt.
    """

    measure: str
    lowest: float | None
    fresh: Share | None = None
    seed: int = 0


class Gauge:
    """A learner's trainability beside fresh networks', each measure in as few gradient steps as tell something.

    These are `FEWEST`, doubled up to `MOST` until a fresh network loses a tenth of the error. A measure that is below
    the threshold is taken again before it counts, beside a fresh network on the same observations: a policy's by what
    another network pays, and one of outputs with three times the steps.

    Args:
        learner: that is looked at.
        seed: of all that is drawn.
        steps: of every measure; None for as few as tell something.
        measured: of the gauge whose state is going to be restored, if modules may have been replaced since.

    Attributes:
        fresh: measure -> what a fresh network loses.
        measured: the unit graphs of these fresh networks; None where there are none yet.
        spent: transitions that probes have learnt from, with what stands for their beginnings.
    """

    def __init__(
        self, learner: Learner, seed: int, steps: int | None, measured: Mapping[str, Network] | None = None
    ) -> None:
        self._learner, self._seed, self._steps = learner, seed, steps
        self.fresh: dict[str, Share] = {}
        self.spent = 0
        self._looks = 0  # with the fresh shares at hand
        self._rates: list[float] = []
        self.measured = measured

    def look(self, batch: Any, threshold: float) -> Look:
        """The lowest measure of the learner as it is; the first of those below the threshold that stays there."""
        self._renew(batch)
        told = {measure: share for measure, share in self.fresh.items() if share.removed >= NEGLIGIBLE}
        removed = self._of_own(batch, {measure: share.steps for measure, share in told.items()}, self._seed)
        found = {measure: own / told[measure].removed for measure, own in removed.items()}
        doubted = ""
        for measure in sorted(found, key=found.__getitem__):
            if found[measure] >= threshold:
                break
            if measure.endswith(POLICY):
                look = self._policy_again(batch, measure)
            else:
                look = self._outputs_again(batch, measure, removed[measure], threshold)
            if look.lowest is None:
                doubted = measure
                del found[measure]
                continue
            found[measure] = look.lowest
            if look.lowest < threshold:
                return look
        measure = min(found, key=found.__getitem__, default=doubted)
        return Look(measure, found.get(measure))

    def _policy_again(self, batch: Any, measure: str) -> Look:
        """A policy that seems ill, by what another network pays, beside another fresh one on the same observations.

        More steps would tell less of its regret (benchmarks/README.md).
        """
        seed, steps = derive_seed(self._seed, "again"), self.fresh[measure].steps
        share = self._of_fresh(batch, {measure: steps}, seed).get(measure)
        while self._steps is None and share is not None and share.removed < NEGLIGIBLE and steps < MOST:
            steps *= 2
            share = self._of_fresh(batch, {measure: steps}, seed).get(measure)
        if share is None or share.removed < NEGLIGIBLE:
            return Look(measure, None)
        return Look(measure, _ratio(self._of_own(batch, {measure: steps}, seed).get(measure), share), share, seed)

    def _outputs_again(self, batch: Any, measure: str, removed: float, threshold: float) -> Look:
        """Outputs that seem ill, beside a fresh network on the same observations, and with more steps if they still do.

        What only begins slowly is well, and has as many steps as have told so for the next looks.

        Args:
            batch: observations.
            measure: which.
            removed: what the learner's network loses in the steps of the share that is kept.
            threshold: below which it is ill.
        """
        steps = self.fresh[measure].steps
        if self._looks > 1:  # the share is of other observations
            self.fresh |= self._of_fresh(batch, {measure: steps}, self._seed)
        share = self.fresh[measure]
        look = Look(measure, _ratio(removed, share), share, self._seed)
        more = min(SURE * steps, MOST)
        if self._steps or more <= steps or (look.lowest is not None and look.lowest >= threshold):
            return look
        slower = self._of_own(batch, {measure: more}, self._seed).get(measure)
        if slower is None or (look.lowest is not None and slower < threshold * share.removed):
            return look  # ill all the more beside a fresh network that has made as many steps
        again = self._of_fresh(batch, {measure: more}, self._seed).get(measure)
        beside = _ratio(slower, again)
        if again is not None and (look.lowest is None or beside is None or beside >= threshold):
            self.fresh[measure] = again
            return Look(measure, beside, again, self._seed)
        return look  # remedies are tried in the fewer steps

    def again(self, batch: Any, look: Look) -> float | None:
        """The ill measure of the learner as it is; None where it is no finite number."""
        assert look.fresh is not None
        return _ratio(self._of_own(batch, {look.measure: look.fresh.steps}, look.seed).get(look.measure), look.fresh)

    # ------------------------------------------------------------------ fresh networks

    def _renew(self, batch: Any) -> None:
        """Train fresh networks where their shares are not known: of these modules, at these learning rates, of late."""
        learner, now = self._learner, rates(self._learner)
        if self.measured != dict(learner.networks):
            self.fresh, self.measured = {}, dict(learner.networks)
        self._looks += 1
        if self.fresh and self._rates == now and self._looks <= KEPT:
            return
        last, self.fresh, self._rates, self._looks = self.fresh, {}, now, 1
        # From half of what told something before: learning rates move, and doubts pass.
        half = {measure: share.steps // 2 for measure, share in last.items()}
        sizes = {measure: self._steps or max(FEWEST, half.get(measure, 0)) for measure in measures(learner)}
        while sizes:
            self.fresh |= (found := self._of_fresh(batch, sizes, self._seed))
            too_few = [measure for measure, share in found.items() if share.removed < NEGLIGIBLE and share.steps < MOST]
            sizes = {measure: 2 * sizes[measure] for measure in too_few} if self._steps is None else {}

    def _of_fresh(self, batch: Any, sizes: Mapping[str, int], seed: int) -> dict[str, Share]:
        found = self._removed(batch, fresh_parameters(self._learner, seed, "fresh"), sizes, seed)
        return {measure: Share(sizes[measure], removed) for measure, removed in found.items()}

    # ------------------------------------------------------------------ the learner's own

    def _of_own(self, batch: Any, sizes: Mapping[str, int], seed: int) -> dict[str, float]:
        return self._removed(batch, self._learner.snapshot(), sizes, seed)

    def _removed(
        self, batch: Any, parameters: Mapping[str, Tensor], sizes: Mapping[str, int], seed: int
    ) -> dict[str, float]:
        """Shares of the errors that training removes, of all replicas together."""
        if not sizes:
            return {}
        self.spent += sum(steps + BEGUN for steps in sizes.values()) * OBSERVATIONS
        found = errors_removed(self._learner, batch, parameters, seed=seed, steps=sizes)
        return finite(self._learner.replicas.mean(found))

    # ------------------------------------------------------------------ state

    def state(self) -> dict[str, Any]:
        """What decides what the next looks give."""
        return {
            "fresh": [[measure, *share] for measure, share in self.fresh.items()],
            "looks": self._looks,
            "rates": list(self._rates),
            "spent": self.spent,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.fresh = {measure: Share(steps, removed) for measure, steps, removed in state["fresh"]}
        self._looks, self._rates, self.spent = state["looks"], list(state["rates"]), state["spent"]
        networks = dict(self._learner.networks)
        if self.measured is not None and self.measured != networks:
            self.fresh = {}  # at once, so that what is saved until the next look tells it
        self.measured = networks


def _ratio(removed: float | None, fresh: Share | None) -> float | None:
    """What a network loses of an error over what a fresh one does; None where the latter tells nothing."""
    return None if removed is None or fresh is None or fresh.removed < NEGLIGIBLE else removed / fresh.removed
