"""The closed loop: trainability is watched, remedies are tried on copies, and one that helps is applied."""

from agents.plasticity.auto.decision import Decision
from agents.plasticity.auto.watching import Auto

__all__ = ["Auto", "Decision"]
