"""What diagnoses of networks find, and what trials of remedies tell: plain data, which needs no torch to be read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

DEAD, BOUND, SATURATED, NORMS = "dead units", "saturated units", "saturated policy", "norm growth"
RANK, KERNEL = "rank collapse", "kernel collapse"
STALE, DIVERGING, BROKEN = "stale optimizer", "value divergence", "weights that are no numbers"
MECHANISMS = (BROKEN, DEAD, BOUND, SATURATED, NORMS, RANK, KERNEL, STALE, DIVERGING)
"""In the order of cause and effect: what stands later may follow from what stands before it."""

NEGLIGIBLE = 0.1
"""Of what a fresh network has: less is none."""


@dataclass(frozen=True)
class Comparison:
    """A number of a network beside those of fresh ones on the same observations.

    Attributes:
        value: its own.
        fresh: those of fresh networks of the same spec.
        earliest: its own, of the earliest parameters that are known; None where no others are.
    """

    value: float
    fresh: tuple[float, ...]
    earliest: float | None = None

    @property
    def middle(self) -> float:
        """The fresh networks' median."""
        return median(self.fresh)


@dataclass(frozen=True)
class Finding:
    """A mechanism that holds.

    Attributes:
        mechanism: one of `MECHANISMS`.
        network: in which.
        place: the layer where it shows most, or the network.
        strength: the share that is gone of what a fresh network has, above one half; 1 is all.
        confidence: the least share of comparisons that bear it out: n of n count as n / (n + 1), since the next one
            might not.
        signs: what shows it.
        trainability: what the fit probe says of the network; None where the mechanism is none of what it measures.
    """

    mechanism: str
    network: str
    place: str
    strength: float
    confidence: float
    signs: Mapping[str, float] = field(default_factory=dict)
    trainability: float | None = None


@dataclass(frozen=True)
class Trial:
    """A candidate on a copy of the learner.

    Attributes:
        candidate: its name and the arguments that are not the defaults.
        hindrance: why it could not be tried; empty where it was, and all else is left out where it was not.
        before: ``<network>/<measure>`` -> trainability without it, of the copy that it is held against.
        after: the same with it.
        changes: output network's name -> how far its outputs are from those without it: KL of policies, of all else the
            mean square, over that of the outputs.
        loss_changes: network's name -> how much larger its mean loss is than without it.
        told: what it has to log of its act, such as what its resets were predicted to cost.
        seconds: that its act took, with the minibatches that it was shown.
        memory: bytes that it holds in training.
        at_switches: whether it acts at revealed task switches alone, as it is given.
    """

    candidate: Mapping[str, Any]
    hindrance: str = ""
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)
    changes: Mapping[str, float] = field(default_factory=dict)
    loss_changes: Mapping[str, float] = field(default_factory=dict)
    told: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    memory: int = 0
    at_switches: bool = False

    @property
    def lowest(self) -> tuple[str, float, float]:
        """The measure that was lowest, with what it was and is; where nothing is known, nan."""
        known = [(value, key) for key, value in self.before.items() if key in self.after]
        if not known:
            return "", float("nan"), float("nan")
        value, key = min(known)
        return key, value, self.after[key]

    @property
    def regained(self) -> float:
        """By how much the lowest measure has risen."""
        _, before, after = self.lowest
        return after - before


@dataclass(frozen=True)
class Usual:
    """What is usually named for a mechanism beside what was measured.

    Attributes:
        mechanism: that was found.
        network: in which.
        usual: the remedy that is usually named.
        regained: what that one regains there; None where it could not be tried.
        best: the candidate that regains most there; None where none was tried.
        most: what that is; None where none was tried.
    """

    mechanism: str
    network: str
    usual: str
    regained: float | None
    best: Mapping[str, Any] | None
    most: float | None

    @property
    def agrees(self) -> bool:
        """Whether the usual one regains as much as the best, but for a tenth of what a fresh network has."""
        return self.regained is not None and self.most is not None and self.most - self.regained <= NEGLIGIBLE


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Of those that regain the most, but for a tenth, the one that changes outputs least."""
    most = max((trial.regained for trial in trials if not math.isnan(trial.regained)), default=0.0)
    near = [trial for trial in trials if trial.regained >= max(most - NEGLIGIBLE, NEGLIGIBLE)]
    known = max((len(trial.changes) for trial in near), default=0)  # what is not finite is left out
    whole = [trial for trial in near if len(trial.changes) == known]
    return min(whole, key=lambda trial: sum(trial.changes.values()), default=None)
