"""Performance, forgetting, transfer and plasticity, worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from small_scores import SCORES, SEGMENTS, STEPS, A, B

from crl import metrics
from crl.metrics import Scores, Segment

NAN = math.nan


def close(found: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return [*found] == [*expected] and all(close(found[key], expected[key]) for key in expected)
    return bool(found == pytest.approx(expected, nan_ok=True))


def test_average_performance_is_weighted_by_time() -> None:
    assert close(metrics.average_performance(SCORES, SEGMENTS), (4 + 6 + 7) / 3)
    uneven = [Segment("a", 0, 100), Segment("b", 100, 300)]  # b: 200 + 400 + 375 + 225 over 200 steps are 6
    assert close(metrics.average_performance(SCORES, uneven), (4 * 100 + 6 * 200) / 300)
    unknown = [Segment("a", 0, 100), Segment("c", 100, 900)]  # never evaluated
    assert metrics.average_performance(SCORES, unknown) == 4
    assert math.isnan(metrics.average_performance(SCORES, unknown[1:]))


def test_dense_evaluations_do_not_count_more() -> None:
    dense = Scores([0, 1, 2, 3, 4, 100], {"a": [0, 0, 0, 0, 0, 10]})
    assert close(metrics.average_performance(dense, [Segment("a", 0, 100)]), 0.96 * 5)


def test_long_episodes_count_for_their_steps() -> None:
    assert metrics.average_episode_return([10, 10, 500], [10, 10, 500]) == (100 + 100 + 250_000) / 520
    assert metrics.average_episode_return([1, NAN], [10, 90]) == 1
    assert math.isnan(metrics.average_episode_return([], []))
    with pytest.raises(ValueError, match=r"returns of shape \(2,\) do not fit lengths of shape \(1,\)"):
        metrics.average_episode_return([1, 2], [1])


def test_final_performance() -> None:
    assert metrics.final_performance(SCORES) == {"a": 10, "b": 4}
    assert metrics.final_performance(SCORES, last=2) == {"a": 9, "b": 4.5}
    assert close(metrics.final_performance(Scores([0, 1], {"a": [2, NAN], "b": [NAN, NAN]})), {"a": 2, "b": NAN})
    with pytest.raises(ValueError, match="last is 0; give the number of evaluations to average, at least 1"):
        metrics.final_performance(SCORES, last=0)


def test_forgetting_of_continual_world() -> None:
    assert metrics.forgetting(SCORES, SEGMENTS, last=1) == {"a": 0, "b": 10 - 4}
    assert metrics.forgetting(SCORES, SEGMENTS, last=2) == {"a": 9 - 9, "b": 8 - 4.5}
    assert metrics.forgetting(SCORES, SEGMENTS) == {"a": 9 - 9, "b": 8 - 4.5}  # of five, there are two
    assert metrics.forgetting(SCORES, SEGMENTS[:2]) == {"a": 6 - 4, "b": 8 - 8}
    assert close(metrics.forgetting(Scores([300], {"b": [4]}), SEGMENTS), {"b": NAN})


def test_backward_transfer() -> None:
    assert metrics.backward_transfer(SCORES, SEGMENTS) == {"a": 10 - 8, "b": 4 - 10}
    assert metrics.backward_transfer(SCORES, SEGMENTS[:2]) == {"a": 2 - 8}  # not of the last task


def test_isolated_forgetting_of_cora() -> None:
    assert close(metrics.isolated_forgetting(SCORES, SEGMENTS), {"a": {1: (8 - 2) / 10}, "b": {2: (10 - 4) / 10}})
    found = metrics.isolated_forgetting(SCORES, SEGMENTS, {"a": 20, "b": 12})
    assert close(found, {"a": {1: 0.3}, "b": {2: 0.5}})
    assert close(metrics.isolated_forgetting(Scores([0, 300], {"a": [0, 0]}), SEGMENTS), {"a": {1: NAN}})


def test_zero_shot_transfer_of_cora() -> None:
    found = metrics.zero_shot_transfer(SCORES, SEGMENTS)
    assert close(found["b"], {0: (2 - 1) / 10})
    assert found["a"] == {}


def test_forward_transfer() -> None:
    rates = Scores(STEPS, {"a": [x / 10 for x in A], "b": [x / 10 for x in B]})  # areas of .4 and .6
    single = {"a": 0.4, "b": 0.2}
    assert close(metrics.forward_transfer(rates, SEGMENTS, single), {"a": 0, "b": (0.6 - 0.2) / (1 - 0.2)})
    assert close(metrics.forward_transfer(SCORES, SEGMENTS, {"b": 2.0}, "ratio"), {"b": 6 / 2})
    assert close(metrics.forward_transfer(SCORES, SEGMENTS, {"b": 2.0}, "contrast"), {"b": (6 - 2) / (6 + 2)})
    with pytest.raises(
        ValueError, match="areas of 4 and 2 are no rates of success, which lie in 0 to 1; give form='ratio'"
    ):
        metrics.forward_transfer(SCORES, SEGMENTS, {"a": 2.0})
    with pytest.raises(ValueError, match="form='other' is not known; give one of normalized, ratio, contrast"):
        metrics.forward_transfer(SCORES, SEGMENTS, single, "other")


def test_plasticity_against_the_oracle() -> None:
    oracle = Scores(STEPS, {"a": [0, 4, 8, 0, 0, 7, 14], "b": [3] * 7})  # areas 4, 3 and 7
    assert metrics.plasticity(SCORES, oracle, SEGMENTS) == [1, 2, 1]
    assert metrics.plasticity(SCORES, oracle, SEGMENTS, {"a": 2, "b": 1}) == [1, 5 / 2, 1]
    ours, fresh = (Scores([100], {"a": [value]}) for value in (-120, -80))
    assert close(metrics.plasticity(ours, fresh, SEGMENTS[:1]), [NAN])  # a ratio would be upside down
    assert metrics.plasticity(ours, fresh, SEGMENTS[:1], {"a": -500}) == [380 / 420]


def test_slope() -> None:
    assert metrics.slope([1, 3, 5]) == 2
    assert metrics.slope([1, NAN, 0.5]) == -0.25
    assert metrics.slope([0, 3, 0, 3]) == pytest.approx((-1.5 * 0 - 0.5 * 3 + 0.5 * 0 + 1.5 * 3) / 5)
    assert math.isnan(metrics.slope([1, NAN]))


def test_relearning_time() -> None:
    assert metrics.relearning_times(SCORES, SEGMENTS) == {"a": [50]}  # 7.2 at step 250; b comes once
    assert metrics.relearning_times(SCORES, SEGMENTS, share=1.1) == {"a": [100]}  # 8.8 at step 300
    assert metrics.relearning_times(SCORES, SEGMENTS, share=2) == {"a": [math.inf]}
    assert metrics.relearning_times(SCORES, SEGMENTS, last=2, share=4 / 3) == {"a": [50]}  # of 6 are 8
    negative = Scores(STEPS, {"a": [x - 100 for x in A]})  # first level -92, and .9 of the way from -100
    assert close(metrics.relearning_times(negative, SEGMENTS), {"a": [NAN]})
    assert metrics.relearning_times(negative, SEGMENTS, baselines={"a": -100}) == {"a": [50]}
