"""What a closed loop has decided, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NONE = "none"
COST, TRAINABILITY, LIVING = "cost", "trainability", "living_units"


@dataclass(frozen=True)
class Decision:
    """What was decided at a look at trainability.

    Attributes:
        step: the learner's gradient step.
        timesteps: steps of the games.
        measure: ``<network>/<measure>``, the lowest one of the fit probe, or what was to be mended; empty where
            nothing can be told.
        trainability: the lowest measure of the fit probe, a fresh network having 1; None where nothing can be told.
        applied: the candidate that was, or ``none``.
        reason: in a sentence.
        trials: candidate (the second ``redo`` as ``redo_2``) -> ``cost``, what it costs at once, and what the measure
            that was ill is with it, as ``trainability`` or ``living_units``, None where it was not looked at: a cheaper
            one was enough, or it costs too much.
        living_units: the least share of a network's units that are not dormant, over that of fresh networks; None where
            it was not looked at, or nothing is told.
    """

    step: int
    timesteps: int
    measure: str
    trainability: float | None
    applied: str
    reason: str
    trials: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    living_units: float | None = None

    @property
    def is_healthy(self) -> bool:
        """Whether the networks were well, or nothing could be told, so that nothing was to be done."""
        return self.applied == NONE and not self.trials

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> Decision:
        """The decision that `asdict` has made this of, perhaps of a version that looked at trainability alone."""
        trials = {
            name: dict(of) if isinstance(of, Mapping) else dict(zip((TRAINABILITY, COST), of, strict=True))
            for name, of in saved["trials"].items()
        }
        return cls(**{**saved, "trials": trials})

    def row(self) -> dict[str, Any]:
        """As a row of a table: column -> value."""
        tried = {f"{name}/{key}": value for name, of in self.trials.items() for key, value in of.items()}
        return {
            "step": self.timesteps, "gradient_step": self.step, "measure": self.measure,
            TRAINABILITY: self.trainability, LIVING: self.living_units, "decision": self.applied, "reason": self.reason,
            **tried,
        }  # fmt: skip


def column_of(measure: str) -> str:
    """Under which a measure of a network stands beside those of its kind."""
    return LIVING if measure.endswith(LIVING) else TRAINABILITY
