"""The measures of l2metrics, worked out by hand."""

from __future__ import annotations

import math

import pytest
from small_scores import SCORES, SEGMENTS

from crl import metrics
from crl.metrics import Scores, contrast

NAN = math.nan


def test_normalized_scores_lie_between_1_and_101() -> None:
    found = metrics.normalized(SCORES)
    assert found.of("a")[1].tolist() == [1, 41, 81, 61, 21, 81, 101]
    assert found.of("b")[1][[0, 4]].tolist() == [1, 101]
    ranged = metrics.normalized(Scores([0, 1], {"a": [-500, -80], "b": [NAN, 3]}), {"a": (-500, -100), "b": (3, 3)})
    assert ranged.of("a")[1].tolist() == [1, 106]
    assert ranged.of("b")[1].tolist() == [1]
    assert metrics.normalized(Scores([0], {"a": [NAN]})).of("a")[1].tolist() == []


def test_performance_maintenance() -> None:
    found = metrics.performance_maintenance(SCORES, SEGMENTS)
    assert found == {"a": ((6 - 8) + (2 - 8)) / 2, "b": ((5 - 10) + (4 - 10)) / 2}
    found = metrics.performance_maintenance(SCORES, SEGMENTS, terminal=[7, 9, 10])
    assert found == {"a": ((6 - 7) + (2 - 7)) / 2, "b": ((5 - 9) + (4 - 9)) / 2}
    assert metrics.performance_maintenance(Scores([100], {"a": [1]}), SEGMENTS) == pytest.approx(
        {"a": NAN}, nan_ok=True
    )


def test_transfer_between_tasks() -> None:
    forward, backward = metrics.task_transfer(SCORES, SEGMENTS)
    assert forward == {("a", "b"): [2 / 1]}
    assert backward == {("b", "a"): [2 / 8], ("a", "b"): [4 / 10]}
    forward, backward = metrics.task_transfer(SCORES, SEGMENTS, contrast)
    assert forward == {("a", "b"): [(2 - 1) / (2 + 1)]}
    assert backward == {("b", "a"): [(2 - 8) / (2 + 8)], ("a", "b"): [(4 - 10) / (4 + 10)]}
    forward, _ = metrics.task_transfer(Scores([0, 100], {"b": [0, 1]}), SEGMENTS[:1])  # which never trains it
    assert forward == {("a", "b"): [pytest.approx(NAN, nan_ok=True)]}


def test_terminal_performance() -> None:
    assert metrics.terminal_performance(range(20)) == (18 + 19) / 2
    assert metrics.terminal_performance([1, 2, 9]) == 9
    assert metrics.terminal_performance([5, NAN]) == 5
    assert math.isnan(metrics.terminal_performance([]))


def test_relative_performance() -> None:
    assert metrics.relative_performance([1, 2, 3], [2, 2]) == 3 / 4
    assert metrics.relative_performance([1], [2, 2]) == 1 / 2
    assert math.isnan(metrics.relative_performance([-1], [-2]))


def test_saturation() -> None:
    assert metrics.saturation([0, 4, 6, 6, 6]) == (6, 2)
    assert metrics.saturation([0.0] * 7 + [3.0] * 3 + [0.0] * 5) == pytest.approx((3, 9))  # a window of three
    value, place = metrics.saturation([])
    assert (math.isnan(value), place) == (True, 0)


@pytest.mark.parametrize(
    ("experiences", "expected"),
    [
        ([0, 1, 2, 3, 2], (3 / 6) * (2 / 3)),
        ([0, 0, 0, 1, 1], 0.0),  # below a fifth of 6
        ([3, 3, 2, 1, 1], 0.0),  # falls
        ([3, 3, 3, 3, 3], NAN),  # nothing to wait for
        ([], NAN),
    ],
)
def test_sample_efficiency(experiences: list[float], expected: float) -> None:
    found = metrics.sample_efficiency(experiences, [0, 4, 6, 6, 6])
    assert found == pytest.approx(expected, nan_ok=True)


def test_sample_efficiency_against_an_expert_that_is_none() -> None:
    assert math.isnan(metrics.sample_efficiency([0, 1], [-3, -2]))


def test_recovery() -> None:
    assert metrics.recovery_time([1, 5, 8], 5) == 1
    assert metrics.recovery_time([1, 5, 8], 9) == 4
    assert metrics.performance_recovery([10, 6, 4]) == 3  # slopes -4, -3 and -2
    assert math.isnan(metrics.performance_recovery([10]))
