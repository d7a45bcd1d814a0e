"""What earlier tasks do for those that come later."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from crl.metrics.forgetting import scale_of
from crl.metrics.l2 import contrast, ratio
from crl.metrics.performance import mean_of_last
from crl.metrics.scores import Scores, Segment, area, visits_of


def _normalized_gain(after: float, before: float) -> float:
    """Share of what was left to gain, of scores such as rates of success.

    Raises:
        ValueError: a score is outside [0, 1].
    """
    if min(after, before) < 0 or max(after, before) > 1:
        raise ValueError(
            f"areas of {after:g} and {before:g} are no rates of success, which lie in 0 to 1; give form='ratio' or "
            "form='contrast' for returns"
        )
    return (after - before) / (1 - before) if before < 1 else math.nan


FORMS: dict[str, Callable[[float, float], float]] = {
    "normalized": _normalized_gain,
    "ratio": ratio,
    "contrast": contrast,
}


def forward_transfer(
    scores: Scores, segments: Sequence[Segment], single: Mapping[str, float], form: str = "normalized"
) -> dict[str, float]:
    """Forward transfer: area under the curve of a task's first visit against that of training on it alone.

    ``(AUC_i - AUC_i^single) / (1 - AUC_i^single)`` of Continual World (arXiv 2105.10919) and COOM, which asks for
    scores in [0, 1] such as rates of success. Returns have no bound: for them the ratio, or l2metrics' contrast
    ``(a - b) / (a + b)``.

    Args:
        scores: of the run.
        segments: of its stream.
        single: task -> `area` of a fresh agent that trains on it alone for as many steps.
        form: "normalized", "ratio" or "contrast".

    Returns:
        Task -> transfer; above 0 (of a ratio: above 1) where having learnt before has helped.

    Raises:
        ValueError: the form is another, or "normalized" meets scores outside [0, 1].
    """
    if form not in FORMS:
        raise ValueError(f"form={form!r} is not known; give one of {', '.join(FORMS)}")
    return {
        task: FORMS[form](area(scores, visits[0]), single[task])
        for task, visits in visits_of(segments).items()
        if task in scores.tasks and task in single
    }


def zero_shot_transfer(
    scores: Scores, segments: Sequence[Segment], scales: Mapping[str, float] | None = None
) -> dict[str, dict[int, float]]:
    """Isolated zero-shot forward transfer of CORA (arXiv 2110.10067): what earlier tasks taught of one not yet seen.

    The last score in an earlier segment less the last one before it, over the scale.

    Args:
        scores: of the run, with an evaluation before the first update.
        segments: of its stream.
        scales: see `isolated_forgetting`.

    Returns:
        Task -> index of each segment before its first visit -> transfer.
    """
    found: dict[str, dict[int, float]] = {}
    for task, visits in visits_of(segments).items():
        if task in scores.tasks:
            scale = scale_of(scores, task, scales)
            found[task] = {
                index: (mean_of_last(scores.within(segment, task)[1], 1) - scores.until(task, segment.start)) / scale
                for index, segment in enumerate(segments)
                if segment.stop <= visits[0].start
            }
    return found
