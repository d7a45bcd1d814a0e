"""The stability gap, worked out by hand."""

from __future__ import annotations

import math

import pytest
from small_scores import SCORES, SEGMENTS

from crl.metrics import (
    Scores,
    Segment,
    min_acc,
    stability_gaps,
    wc_acc,
    windowed_forgetting,
    windowed_plasticity,
    worst_since_trained,
)

NAN = math.nan
THREE = [Segment("a", 0, 10), Segment("b", 10, 20), Segment("c", 20, 30)]
SUCCESS = Scores([10, 20, 30], {"a": [0.9, 0.3, 0.5], "b": [0.0, 0.8, 0.6], "c": [0.0, 0.0, 0.9]})


def test_min_acc_and_wc_acc() -> None:
    assert worst_since_trained(SUCCESS, THREE) == {"a": 0.3, "b": 0.6}
    assert min_acc(SUCCESS, THREE) == pytest.approx([NAN, 0.3, (0.3 + 0.6) / 2], nan_ok=True)
    assert wc_acc(SUCCESS, THREE) == pytest.approx([0.9, 0.8 / 2 + 0.3 / 2, 0.9 / 3 + 2 / 3 * 0.45])


def test_a_task_that_comes_again_counts_from_its_last_visit() -> None:
    assert min_acc(SCORES, SEGMENTS) == pytest.approx([NAN, 2, 4], nan_ok=True)
    assert wc_acc(SCORES, SEGMENTS) == [8, 10 / 2 + 2 / 2, 10 / 2 + 4 / 2]


def test_tasks_that_were_not_evaluated_are_none() -> None:
    alone = Scores([100, 200, 300], {"b": [2, 10, 4]})
    assert min_acc(alone, SEGMENTS) == pytest.approx([NAN, NAN, 4], nan_ok=True)
    assert wc_acc(alone, SEGMENTS) == pytest.approx([NAN, 10, NAN], nan_ok=True)


def test_depth_and_recovery() -> None:
    assert stability_gaps(SCORES, SEGMENTS) == [("a", 1, 8 - 2, math.inf), ("b", 2, 10 - 4, math.inf)]
    back = Scores([100, 110, 120, 130, 140], {"a": [8, 3, 5, 8, 7]})
    assert stability_gaps(back, SEGMENTS[:2]) == [("a", 1, 8 - 3, 30)]
    gained = Scores([100, 200], {"a": [8, 9]})
    assert stability_gaps(gained, SEGMENTS[:2]) == [("a", 1, -1, 0)]
    assert stability_gaps(Scores([110], {"a": [8]}), SEGMENTS[:2]) == []  # nothing before the switch


def column(*values: float) -> Scores:
    return Scores(range(len(values)), {"a": values})


@pytest.mark.parametrize(
    ("values", "window", "plasticity", "forgetting"),
    [
        ((0.5, 0.1, 0.9), 10, 0.8, 0.4),  # the official code finds .4 and .4
        ((0.0, 0.3, 0.6, 0.9), 2, 0.3, 0.0),
        ((0.0, 0.3, 0.6, 0.9), 3, 0.6, 0.0),
        ((0.9, 0.7, 0.6, 0.5, 0.9), 3, 0.4, 0.3),
        ((-500.0, -400.0, -450.0), 10, 100.0, 50.0),
        ((0.5,), 10, 0.0, 0.0),
        ((0.5, NAN, 0.1), 2, 0.0, 0.4),
        ((NAN,), 10, NAN, NAN),
    ],
)
def test_windowed_plasticity_and_forgetting(
    values: tuple[float, ...], window: int, plasticity: float, forgetting: float
) -> None:
    scores = column(*values)
    assert windowed_plasticity(scores, window) == pytest.approx({"a": plasticity}, nan_ok=True)
    assert windowed_forgetting(scores, window) == pytest.approx({"a": forgetting}, nan_ok=True)


def test_a_window_of_one_evaluation_is_refused() -> None:
    with pytest.raises(ValueError, match="window is 1; a change needs two evaluations, so give at least 2"):
        windowed_forgetting(column(1, 2), 1)
