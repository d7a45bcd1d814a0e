"""Measures of plasticity: pure functions of activations, spectra, outputs, weights and gradients.

`Diagnostics` takes all of them of a learner at once.
"""

from agents.plasticity.diagnostics.activations import dormant_ratio, fau, grama_ratio, saturated_fraction
from agents.plasticity.diagnostics.churn import absolute_change, greedy_change, policy_change, squared_change
from agents.plasticity.diagnostics.fit import FitProbe, trainability
from agents.plasticity.diagnostics.measure import Diagnostics
from agents.plasticity.diagnostics.norms import norm, signal, weight_norm
from agents.plasticity.diagnostics.ntk import tangent_kernels
from agents.plasticity.diagnostics.policy import entropy, saturation
from agents.plasticity.diagnostics.ranks import (
    dominant_share,
    effective_rank,
    eigenvalues,
    singular_values,
    srank,
    stable_rank,
)

__all__ = [
    "Diagnostics",
    "FitProbe",
    "absolute_change",
    "dominant_share",
    "dormant_ratio",
    "effective_rank",
    "eigenvalues",
    "entropy",
    "fau",
    "grama_ratio",
    "greedy_change",
    "norm",
    "policy_change",
    "saturated_fraction",
    "saturation",
    "signal",
    "singular_values",
    "squared_change",
    "srank",
    "stable_rank",
    "tangent_kernels",
    "trainability",
    "weight_norm",
]
