"""Which intervention gives a learner's networks back what they have lost: each is tried on a copy."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.plasticity.diagnostics.fit.probe import OBSERVATIONS, OUTPUTS, STEPS, check_sizes, errors_removed, finite
from agents.plasticity.findings import DEAD, KERNEL, RANK, Finding, Trial, Usual
from agents.plasticity.fresh import fresh_parameters
from agents.plasticity.outputs import are_numbers
from agents.plasticity.protocols import Intervention, Learner
from agents.plasticity.registry import INTERVENTIONS
from agents.plasticity.seeds import derive_seed
from agents.plasticity.trials import (
    REDO,
    Candidate,
    Copied,
    acts_gradually,
    built,
    described,
    looks_at_losses,
    mean_losses,
    memory_of,
    no_remedy,
    on_a_copy,
    output_changes,
    train,
    try_out,
)
from agents.plasticity.validation import check

USUAL: Mapping[str, str] = {DEAD: "regrama", RANK: "spectral", KERNEL: "c_chain"}
"""Mechanism -> the remedy that is usually named for it: for its cause, whatever has been measured."""
USUAL_OF_ALL = "agent.activation: fourier"
"""What is named for all three, which only a new network can have."""
VARIANTS: tuple[Candidate, ...] = (REDO, {"name": "shrink_and_perturb", "mode": "boundary"})
"""Tried beside all that is registered, with its defaults."""


def match(
    learner: Learner,
    candidates: Sequence[Candidate] | None = None,
    *,
    known: Mapping[str, tuple[float, float]] | None = None,
    seed: int = 0,
    steps: int = STEPS,
    observations: int = OBSERVATIONS,
) -> list[Trial]:
    """Try interventions on copies of a learner, and put each copy to the fit probe (`trainability`).

    What acts at once (resets of units, of heads and of whole networks) acts once, as at the end of a period of its own
    or at a task switch, all units counting as mature; what scores minibatches is shown `steps` of them first, while
    nothing is trained. Its copy is held against the learner as it is, so that what lies between them is its doing
    alone. What acts gradually (penalties, decays) has no such moment: its copy is trained for `steps` gradient steps on
    the data at hand, as training would, with the intervention at its full strength in every one of them, and held
    against a copy that was trained on the same minibatches without it. Then the probe trains both by its own objective
    alone: inside of that a penalty would be scored by how much it hinders the fit, and not by what it has left
    to fit with. What needs longer than that shows nothing here, and is not refuted.

    Nothing of the learner is changed, and generators are of this function's own.

    Args:
        learner: with data to `sample`; a training loop of one's own gives `PlasticOptimizer` ``sample``,
            ``sample_losses`` and ``outputs``. No backward pass may be pending.
        candidates: names, or mappings of a name and arguments; None for all that is registered, with its defaults, and
            beside that redo with `allow_full` and shrink_and_perturb in boundary mode.
        known: ``<network>/<measure>`` -> shares of the error that are removed of the learner as it is and of a fresh
            network, of the same seed, steps and observations (`Diagnosis.trainability`); None to measure them.
        seed: of all that is drawn.
        steps: of the fit probe, and minibatches that a candidate sees.
        observations: of the fit probe, at most.

    Returns:
        One for each candidate, those that regain most first, and behind them those that could not be tried.

    Raises:
        NoDataError: the learner has no data; the message says how to give it some.
        ValueError: a number is too small, or a name is not known.
    """
    check_sizes(steps, observations)
    check("candidates", candidates, not isinstance(candidates, str | Mapping), "a list of interventions")
    given = [described(candidate) for candidate in ([*INTERVENTIONS, *VARIANTS] if candidates is None else candidates)]
    trials = _Trials(learner, known, seed, steps, observations)
    return sorted(map(trials.tried, given), key=lambda trial: (bool(trial.hindrance), -_or_least(trial.regained)))


def usual(findings: Sequence[Finding], trials: Sequence[Trial]) -> list[Usual]:
    """What is usually named for each mechanism that was found, beside what the trials say."""
    found = []
    for finding in findings:
        if (name := USUAL.get(finding.mechanism)) is None:
            continue
        key = f"{finding.network}/{OUTPUTS}"
        gains = [
            (trial.after[key] - trial.before[key], trial)
            for trial in trials
            if key in trial.before.keys() & trial.after
        ]
        own = [gain for gain, trial in gains if trial.candidate == {"name": name}]
        most, best = max(gains, key=lambda pair: pair[0], default=(None, None))
        best_candidate = None if best is None else best.candidate
        found.append(Usual(finding.mechanism, finding.network, name, own[0] if own else None, best_candidate, most))
    return found


def _or_least(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


class _State(NamedTuple):
    """What is known of a learner, or of a copy.

    Attributes:
        scores: ``<network>/<measure>`` -> trainability.
        outputs: output network's name -> its outputs.
        losses: network's name -> mean loss.
    """

    scores: Mapping[str, float]
    outputs: Mapping[str, Tensor]
    losses: Mapping[str, Tensor]


class _Trials:
    """Trials on one learner, which all have the same data and targets; arguments as for `match`."""

    def __init__(
        self,
        learner: Learner,
        known: Mapping[str, tuple[float, float]] | None,
        seed: int,
        steps: int,
        observations: int,
    ) -> None:
        self._learner, self._seed, self._steps = learner, seed, steps
        generator = torch.Generator().manual_seed(derive_seed(seed, "observations"))
        self._batch = learner.sample(observations, generator)
        with torch.no_grad():
            self._has_losses = are_numbers(learner.outputs(self._batch))
        self._targets = learner.td_targets(self._batch) if self._has_losses else None
        if known is None:
            fresh = finite(self._removed(fresh_parameters(learner, seed, "fresh")))
            own = finite(self._removed(learner.snapshot()))
            known = {key: (own[key], fresh[key]) for key in own if key in fresh}
        self._fresh = {key: fresh for key, (_, fresh) in known.items() if fresh > 0}
        own = {key: known[key][0] / fresh for key, fresh in self._fresh.items()}
        self._as_it_is = _State(own, *self._seen())

    def _removed(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return errors_removed(self._learner, self._batch, parameters, seed=self._seed, steps=self._steps)

    def _scores(self) -> dict[str, float]:
        removed = finite(self._removed(self._learner.snapshot()))
        return {key: removed[key] / fresh for key, fresh in self._fresh.items() if key in removed}

    @torch.no_grad()
    def _seen(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Outputs and losses now."""
        outputs = {name: found.clone() for name, found in self._learner.outputs(self._batch).items()}
        has_losses = self._has_losses and are_numbers(outputs)
        return outputs, mean_losses(self._learner, self._batch, self._targets) if has_losses else {}

    def _beside(self, intervention: Intervention) -> _State:
        """What a copy is held against."""
        return self._trained if acts_gradually(intervention) else self._as_it_is

    @cached_property
    def _trained(self) -> _State:
        with on_a_copy(self._learner, self._seed) as copied:
            train(copied, self._steps)
            return _State(self._scores(), *self._seen())

    def tried(self, given: Mapping[str, Any]) -> Trial:
        """What a candidate does."""
        name = given["name"]
        if why := no_remedy(given):
            return Trial(given, why)
        try:
            intervention = built(given)
            if not self._has_losses and looks_at_losses(intervention):
                return Trial(given, "it looks at losses, and outputs that are no finite numbers have none")
            beside = self._beside(intervention)
            with on_a_copy(self._learner, self._seed) as copied:
                return self._measured(given, intervention, copied, beside)
        except (ValueError, NotImplementedError) as error:
            return Trial(given, str(error).removeprefix(f"{name}: "))
        except Exception as error:  # the code may be a user's
            return Trial(given, f"it raises {type(error).__name__} ({error}); correct it")

    def _measured(self, given: Mapping[str, Any], intervention: Intervention, copied: Copied, beside: _State) -> Trial:
        began = time.perf_counter()
        told = try_out(copied, intervention, self._steps)
        seconds = time.perf_counter() - began
        outputs, losses = self._seen()
        changes = finite(output_changes(self._learner.output_forms, beside.outputs, outputs))
        rises = finite({name: losses[name] - loss for name, loss in beside.losses.items() if name in losses})
        memory, at_switches = memory_of(intervention.state_dict()), intervention.uses_boundaries
        return Trial(given, "", beside.scores, self._scores(), changes, rises, told, seconds, memory, at_switches)
