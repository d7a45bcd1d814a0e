"""Interventions tried on copies of a learner."""

from agents.plasticity.trials.acting import (
    MINIBATCH,
    acts_gradually,
    fitting,
    looks_at_losses,
    mean_losses,
    memory_of,
    output_changes,
    scores_minibatches,
    train,
    try_out,
)
from agents.plasticity.trials.candidates import NO_REMEDY, REDO, Candidate, built, described, no_remedy
from agents.plasticity.trials.copies import Copied, Outcome, become, on_a_copy

__all__ = [
    "MINIBATCH",
    "NO_REMEDY",
    "REDO",
    "Candidate",
    "Copied",
    "Outcome",
    "acts_gradually",
    "become",
    "built",
    "described",
    "fitting",
    "looks_at_losses",
    "mean_losses",
    "memory_of",
    "no_remedy",
    "on_a_copy",
    "output_changes",
    "scores_minibatches",
    "train",
    "try_out",
]
