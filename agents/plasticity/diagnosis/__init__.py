"""What ails networks, and how strong and how sure that is; beside fresh networks and what they were themselves."""

from agents.plasticity.diagnosis.examining import Diagnosis, Examination, diagnose
from agents.plasticity.diagnosis.matching import match, usual
from agents.plasticity.diagnosis.signs import SIGNS
from agents.plasticity.findings import MECHANISMS, Comparison, Finding, Trial, Usual

__all__ = [
    "MECHANISMS",
    "SIGNS",
    "Comparison",
    "Diagnosis",
    "Examination",
    "Finding",
    "Trial",
    "Usual",
    "diagnose",
    "match",
    "usual",
]
