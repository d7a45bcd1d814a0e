"""What a closed loop has decided, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NONE = "none"
TRIED = ("trainability", "cost")


@dataclass(frozen=True)
class Decision:
    """What was decided at a look at trainability.

    Attributes:
        step: the learner's gradient step.
        timesteps: steps of the games.
        measure: ``<network>/<measure>``, the lowest one; empty where nothing can be told.
        trainability: what it is, a fresh network having 1; None where nothing can be told.
        applied: the candidate that was, or ``none``.
        reason: in a sentence.
        trials: candidate (the second ``redo`` as ``redo_2``) -> the lowest trainability with it, None where it was not
            looked at, because a cheaper one was enough; and what it costs at once.
    """

    step: int
    timesteps: int
    measure: str
    trainability: float | None
    applied: str
    reason: str
    trials: Mapping[str, Sequence[float | None]] = field(default_factory=dict)

    @property
    def is_healthy(self) -> bool:
        """Whether the networks were well, or nothing could be told, so that nothing was to be done."""
        return self.applied == NONE and not self.trials

    def row(self) -> dict[str, Any]:
        """As a row of a table: column -> value."""
        tried = {f"{name}/{key}": x for name, of in self.trials.items() for key, x in zip(TRIED, of, strict=True)}
        return {
            "step": self.timesteps, "gradient_step": self.step, "measure": self.measure,
            "trainability": self.trainability, "decision": self.applied, "reason": self.reason, **tried,
        }  # fmt: skip
