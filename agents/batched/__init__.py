"""Several agents of one kind trained as one batched network, each of which ends as by itself within rounding."""

from agents.batched.acting import Look, Member
from agents.batched.shapes import why_alone
from agents.batched.update import Together

__all__ = ["Look", "Member", "Together", "why_alone"]
