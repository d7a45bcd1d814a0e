"""Measures of continual learning, as pure functions of the scores that a run had in each task at each evaluation.

`Scores` and `Segment` say what was measured and what was trained when; a function gives one number for each task, for
each pair of tasks or for each segment, and `average` puts such numbers together. What is not defined is nan: no measure
of a task that was not evaluated in time, no ratio to something that is not positive. Scores of different tasks are on
different scales: average them over tasks only after `normalized`, or where they are ratios or shares already.

Every function names the paper or the code that defines its measure, and says where several definitions are in use.
"""

from crl.metrics.forgetting import backward_transfer, forgetting, isolated_forgetting
from crl.metrics.l2 import (
    contrast,
    normalized,
    performance_maintenance,
    performance_recovery,
    ratio,
    recovery_time,
    relative_performance,
    sample_efficiency,
    saturation,
    task_transfer,
    terminal_performance,
)
from crl.metrics.performance import average_episode_return, average_performance, final_performance
from crl.metrics.plasticity import plasticity, relearning_times, slope
from crl.metrics.scores import Scores, Segment, area, average
from crl.metrics.stability import (
    min_acc,
    stability_gaps,
    wc_acc,
    windowed_forgetting,
    windowed_plasticity,
    worst_since_trained,
)
from crl.metrics.transfer import forward_transfer, zero_shot_transfer

__all__ = [
    "Scores",
    "Segment",
    "area",
    "average",
    "average_episode_return",
    "average_performance",
    "backward_transfer",
    "contrast",
    "final_performance",
    "forgetting",
    "forward_transfer",
    "isolated_forgetting",
    "min_acc",
    "normalized",
    "performance_maintenance",
    "performance_recovery",
    "plasticity",
    "ratio",
    "recovery_time",
    "relative_performance",
    "relearning_times",
    "sample_efficiency",
    "saturation",
    "slope",
    "stability_gaps",
    "task_transfer",
    "terminal_performance",
    "wc_acc",
    "windowed_forgetting",
    "windowed_plasticity",
    "worst_since_trained",
    "zero_shot_transfer",
]
