"""How good an agent is: over its life, and in the end."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from crl.metrics.scores import Scores, Segment, area, in_order


def average_performance(scores: Scores, segments: Sequence[Segment]) -> float:
    """Average performance over life: mean over time of the score in the task that is trained then.

    C-CHAIN's Eq. 1 (arXiv 2506.00592). It is weighted by time: each evaluation counts for the steps that it stands for
    (see `area`), however evaluations are spread. Segments in which their task was not evaluated are passed over.

    Args:
        scores: of the run.
        segments: of its stream.
    """
    lengths = [segment.stop - segment.start for segment in in_order(segments)]
    return _weighted([area(scores, segment) for segment in segments], lengths)


def average_episode_return(returns: ArrayLike, lengths: ArrayLike) -> float:
    """Average performance over life from the episodes of training, weighted by time.

    An episode counts for as many steps as it took. A mean over episodes would count a good CartPole agent, whose
    episodes are few and long, too little.

    Args:
        returns: (episodes,), in the tasks that were trained.
        lengths: (episodes,), in steps.

    Raises:
        ValueError: the two do not fit.
    """
    if np.shape(returns) != np.shape(lengths) or np.ndim(returns) != 1:
        raise ValueError(f"returns of shape {np.shape(returns)} do not fit lengths of shape {np.shape(lengths)}")
    return _weighted(returns, lengths)


def _weighted(values: ArrayLike, weights: ArrayLike) -> float:
    found, steps = np.array(values, dtype=float), np.array(weights, dtype=float)
    known = ~np.isnan(found)
    return float(np.average(found[known], weights=steps[known])) if steps[known].sum() > 0 else math.nan


def final_performance(scores: Scores, last: int = 1) -> dict[str, float]:
    """Final performance: the score of every task after the last segment.

    Continual World (arXiv 2105.10919), COOM and FAME report its mean over tasks, see `average`.

    Args:
        scores: of the run.
        last: how many of a task's last evaluations are averaged. Continual World's code takes 5.
    """
    return {task: mean_of_last(scores.of(task)[1], last) for task in scores.tasks}


def mean_of_last(values: Sequence[float] | np.ndarray, last: int) -> float:
    """Mean of the last values, of all where they are fewer; nan where there is none.

    Raises:
        ValueError: none of them is to be taken.
    """
    if last < 1:
        raise ValueError(f"last is {last}; give the number of evaluations to average, at least 1")
    return float(np.mean(values[-last:])) if len(values) else math.nan
