"""The diagnosis of a learner: its signs and its trainability beside those of fresh networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from agents.plasticity.diagnosis.matching import match
from agents.plasticity.diagnosis.mechanisms import diverging, findings, harmed, ordered, stale, unmissed
from agents.plasticity.diagnosis.memory import gradient_shares
from agents.plasticity.diagnosis.signs import VALUE_SIZE, Bench, bench_of, read, value_sizes
from agents.plasticity.diagnostics.fit.probe import OBSERVATIONS, STEPS, check_sizes, errors_removed, finite
from agents.plasticity.findings import NEGLIGIBLE, STALE, Comparison, Finding, Trial
from agents.plasticity.fresh import fresh_parameters, holding
from agents.plasticity.outputs import are_numbers
from agents.plasticity.protocols import Learner
from agents.plasticity.seeds import derive_seed
from agents.plasticity.trials import Candidate
from agents.plasticity.validation import check

FRESH = 19
"""Fresh networks that a diagnosis compares with: further out than all of them is one in twenty by chance."""
FEWEST = 9
"""With fewer nothing could be as sure as `mechanisms.LEAST`."""


@dataclass(frozen=True)
class Diagnosis:
    """What was found, and all that was measured.

    Attributes:
        findings: the mechanisms that hold, the strongest first; none where nothing ails the networks.
        signs: ``<place>/<sign>`` -> comparison, see `signs.SIGNS`.
        trainability: ``<network>/<measure>`` -> shares of an error that training removes, own and fresh ones'.
        gradient_shares: network -> the gradient norms of minibatches over that which its optimizer remembers; of
            networks of which that is known.
        value_sizes: network of values -> step -> their root mean square, of as many steps as were given.
        outputs: networks with outputs of their own, by which all others are read.
        unmissed: dead units that the fit probe does not feel, see `mechanisms.unmissed`; no findings.
    """

    findings: tuple[Finding, ...]
    signs: Mapping[str, Comparison]
    trainability: Mapping[str, Comparison]
    gradient_shares: Mapping[str, tuple[float, ...]]
    value_sizes: Mapping[str, Mapping[int, float]]
    outputs: tuple[str, ...] = ()
    unmissed: tuple[Finding, ...] = ()

    @property
    def unexplained(self) -> tuple[str, ...]:
        """Networks that can be trained less well than nearly all fresh ones, where nothing was found that explains it.

        What was found in a network that others read explains theirs; a stale optimizer does not, for the fit probe
        begins with one that remembers nothing.
        """
        worse = [key.rpartition("/")[0] for key, each in self.trainability.items() if harmed(each) is not None]
        ill = {each.network for each in self.findings if each.mechanism != STALE}
        explained = ill.union(self.outputs) if ill.difference(self.outputs) else ill
        return tuple(name for name in dict.fromkeys(worse) if name not in explained)

    @property
    def is_harmed(self) -> bool:
        """Whether a network can be trained less well than nearly all fresh ones."""
        return any(harmed(each) is not None for each in self.trainability.values())

    @property
    def untold(self) -> tuple[str, ...]:
        """Of the measures of trainability those that tell nothing: of fresh networks, too, hardly any error is removed.

        So many steps of such a size are too few, and what these measures must feel (`mechanisms.WAYS`) is not named.
        """
        return tuple(key for key, each in self.trainability.items() if each.middle <= NEGLIGIBLE)


class Examination:
    """What a learner is diagnosed on: observations, and fresh networks on them, which are looked at once.

    Parameters of other times, or of other learners of the same networks, can be diagnosed on the same.

    Args:
        learner: with data to `sample`.
        seed: of all that is drawn.
        fresh: how many fresh networks; more make it slower and surer.
        steps: of the fit probe.
        observations: of the fit probe, at most.

    Raises:
        NoDataError: the learner has no data.
        ValueError: a number is too small.
    """

    def __init__(
        self,
        learner: Learner,
        *,
        seed: int = 0,
        fresh: int = FRESH,
        steps: int = STEPS,
        observations: int = OBSERVATIONS,
    ) -> None:
        right = isinstance(fresh, int) and fresh >= FEWEST
        check("fresh", fresh, right, f"at least {FEWEST}, or nothing can be told from chance")
        check_sizes(steps, observations)
        self._learner, self._seed, self._steps, self._number = learner, seed, steps, fresh
        self._size = observations
        generator = torch.Generator().manual_seed(derive_seed(seed, "observations"))
        self._observations = learner.sample(observations, generator)
        self._bench: Bench = bench_of(learner, seed)

    @cached_property
    def _fresh(self) -> list[tuple[dict[str, float], dict[str, float]]]:
        seeds = range(self._number)
        return [self._look(fresh_parameters(self._learner, self._seed, "examined", number)) for number in seeds]

    def _look(self, parameters: Mapping[str, Tensor]) -> tuple[dict[str, float], dict[str, float]]:
        """Signs, and shares of the error that training removes."""
        learner = self._learner
        removed = errors_removed(learner, self._observations, parameters, seed=self._seed, steps=self._steps)
        return self._signs(parameters), finite(removed)

    def _signs(self, parameters: Mapping[str, Tensor]) -> dict[str, float]:
        with holding(self._learner, parameters):
            return finite(read(self._learner, self._bench))

    def _value_sizes(self, parameters: Mapping[str, Tensor]) -> dict[str, float]:
        with holding(self._learner, parameters):
            return finite(value_sizes(self._learner, self._bench))

    def diagnose(
        self, parameters: Mapping[str, Tensor] | None = None, history: Mapping[int, Mapping[str, Tensor]] | None = None
    ) -> Diagnosis:
        """What ails these parameters.

        Args:
            parameters: of the learner's `snapshot`; None for those at hand, with what its optimizers remember of them.
            history: step -> parameters that came before them, and they themselves.
        """
        learner, history = self._learner, history or {}
        signs, removed = self._look(learner.snapshot() if parameters is None else parameters)
        earlier = {step: self._value_sizes(history[step]) for step in sorted(history)}
        earliest = self._signs(history[min(history)]) if history else {}
        compared = _compared(signs, [each for each, _ in self._fresh], earliest)
        scores = _compared(removed, [each for _, each in self._fresh], {})
        with torch.no_grad():
            looks_back = parameters is None and are_numbers(learner.outputs(self._bench.batch))
        shares = gradient_shares(learner, self._seed) if looks_back else {}
        known = {name: tuple(each.tolist()) for name, each in shares.items() if each.isfinite().all()}
        sizes = {
            key.rpartition("/")[0]: {step: each[key] for step, each in earlier.items() if key in each}
            for key in signs
            if key.endswith(VALUE_SIZE)
        }
        layers = {name: [layer.name for layer in network.layers] for name, network in learner.networks.items()}
        found = findings(compared, scores, layers, learner.output_forms)
        found += [each for name, of in known.items() if (each := stale(name, of)) is not None]
        found += [each for name, of in sizes.items() if (each := diverging(name, of)) is not None]
        outputs = tuple(learner.output_forms)
        silent = tuple(unmissed(compared, scores, layers, learner.output_forms))
        return Diagnosis(tuple(ordered(found)), compared, scores, known, sizes, outputs, silent)

    def match(self, diagnosis: Diagnosis, candidates: Sequence[Candidate] | None = None) -> list[Trial]:
        """What interventions would do for the learner, see `matching.match`, on the same observations and targets.

        Args:
            diagnosis: of the parameters at hand.
            candidates: as for `matching.match`.
        """
        known = {key: (each.value, each.middle) for key, each in diagnosis.trainability.items()}
        seed, steps, observations = self._seed, self._steps, self._size
        return match(self._learner, candidates, known=known, seed=seed, steps=steps, observations=observations)


def diagnose(
    learner: Learner,
    *,
    history: Mapping[int, Mapping[str, Tensor]] | None = None,
    seed: int = 0,
    fresh: int = FRESH,
    steps: int = STEPS,
    observations: int = OBSERVATIONS,
) -> Diagnosis:
    """What ails a learner's networks, if anything does: dead units, collapsed ranks, saturation, and what else.

    Its networks are compared with `fresh` freshly drawn ones of the same spec on the same observations, in signs
    (`signs.SIGNS`) and in what the fit probe says (`trainability`): see `mechanisms.findings` for when a mechanism is
    named. The optimizer is held against gradients of now (`mechanisms.stale`), and values against their own past
    (`mechanisms.diverging`), which needs a history. Nothing of the learner is changed, and generators are of its own.

    Args:
        learner: with data to `sample`; a training loop of one's own gives `PlasticOptimizer` ``sample``,
            ``sample_losses`` and ``outputs``.
        history: step -> snapshot, of earlier times and now.
        seed: of all that is drawn.
        fresh: how many fresh networks; more make it slower and surer.
        steps: of the fit probe.
        observations: of the fit probe, at most.

    Raises:
        NoDataError: the learner has no data; the message says how to give it some.
        ValueError: a number is too small.
    """
    examination = Examination(learner, seed=seed, fresh=fresh, steps=steps, observations=observations)
    return examination.diagnose(history=history)


def _compared(
    own: Mapping[str, float], fresh: list[dict[str, float]], earliest: Mapping[str, float]
) -> dict[str, Comparison]:
    """Of what is known of the learner's own and of all fresh networks."""
    return {
        key: Comparison(value, tuple(each[key] for each in fresh), earliest.get(key))
        for key, value in own.items()
        if all(key in each for each in fresh)
    }
