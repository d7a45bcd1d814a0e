"""Statistics of runs over seeds: what several runs say together, how sure that is, and which of two methods is better.

The seed is what is repeated, and not the episode or the visit. Aggregates and intervals are those of "Deep RL at the
edge of the statistical precipice" (Agarwal et al., NeurIPS 2021, arXiv 2108.13264) and of its library rliable. From
fewer than `CLAIMS_FROM` seeds no interval and no probability is computed: show all of their scores.
"""

from crl.statistics.aggregates import (
    CLAIMS_FROM,
    Estimate,
    estimate,
    interquartile_mean,
    mean,
    median,
    optimality_gap,
    performance_profile,
)
from crl.statistics.comparisons import Difference, holm, paired_difference, probability_of_improvement
from crl.statistics.sample import Sample

__all__ = [
    "CLAIMS_FROM",
    "Difference",
    "Estimate",
    "Sample",
    "estimate",
    "holm",
    "interquartile_mean",
    "mean",
    "median",
    "optimality_gap",
    "paired_difference",
    "performance_profile",
    "probability_of_improvement",
]
