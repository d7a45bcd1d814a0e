"""Interventions tried on copies of a learner."""

from agents.plasticity.trials.acting import (
    MINIBATCH,
    acts_gradually,
    fitting,
    mean_losses,
    memory_of,
    output_changes,
    scores_minibatches,
    train,
    try_out,
)
from agents.plasticity.trials.copies import Copied, Outcome, on_a_copy

__all__ = [
    "MINIBATCH",
    "Copied",
    "Outcome",
    "acts_gradually",
    "fitting",
    "mean_losses",
    "memory_of",
    "on_a_copy",
    "output_changes",
    "scores_minibatches",
    "train",
    "try_out",
]
