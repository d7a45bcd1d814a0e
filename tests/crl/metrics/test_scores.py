"""Scores know their axes: what is transposed, or does not say how it lies, is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from small_scores import SCORES, SEGMENTS

from crl.metrics import Scores, Segment, area, average
from crl.metrics.scores import in_order, visits_of

NAN = math.nan


def test_a_matrix_comes_in_by_its_columns() -> None:
    matrix = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])  # three evaluations, two tasks
    scores = Scores([0, 10, 20], dict(zip(["a", "b"], matrix.T, strict=True)))
    assert scores.tasks == ("a", "b")
    assert [scores.of("b")[part].tolist() for part in (0, 1)] == [[0, 10, 20], [2, 4, 6]]
    transposed = r"task 'a' has scores of shape \(2,\) at 3 evaluations; .* transpose the matrix"
    with pytest.raises(ValueError, match=transposed):
        Scores([0, 10, 20], dict(zip(["a", "b", "c"], matrix, strict=True)))


@pytest.mark.parametrize(
    "matrix", [np.eye(2), np.zeros((3, 2)), [[1.0, 2.0], [3.0, 4.0]]], ids=["square", "3x2", "list"]
)
def test_a_matrix_that_does_not_say_how_it_lies_is_refused(matrix: Any) -> None:
    with pytest.raises(
        ValueError, match="a matrix of scores does not say which of its axes are the tasks; give a mapping"
    ):
        Scores([0, 10], matrix)


@pytest.mark.parametrize(
    ("steps", "column", "problem"),
    [
        ([0, 0], [1, 2], "steps do not rise"),
        ([1, 0], [1, 2], "steps do not rise"),
        ([0, NAN], [1, 2], "steps do not rise"),
        ([[0, 1]], [1, 2], "steps do not rise"),
        ([0, 1], [1, math.inf], "task 'a' has a score that is infinite"),
    ],
)
def test_numbers_that_are_refused(steps: Any, column: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Scores(steps, {"a": column})


def test_which_evaluation_is_meant() -> None:
    scores = Scores([0, 100, 150, 200], {"a": [1, 2, NAN, 4]})
    assert scores.within(Segment("a", 0, 100))[1].tolist() == [2]  # the one at its end, and not the one at its start
    assert scores.within(Segment("b", 0, 200), "a")[1].tolist() == [2, 4]
    assert (scores.until("a", 199), scores.until("a", 200)) == (2, 4)
    assert (scores.since("a", 101), scores.since("a", 100)) == (4, 2)
    assert all(map(math.isnan, (scores.until("a", -1), scores.since("a", 201), scores.until("b", 200))))


def test_area_is_a_mean_over_time() -> None:
    assert [area(SCORES, segment) for segment in SEGMENTS] == [4, 6, 7]
    assert area(SCORES, Segment("a", 25, 75)) == (3 * 25 + 5 * 25) / 50  # 2 to 4, and 4 to 6
    assert area(SCORES, Segment("a", 250, 500)) == (9 * 50 + 10 * 200) / 250  # level behind the last evaluation
    assert math.isnan(area(SCORES, Segment("c", 0, 100)))


def test_the_area_of_a_segment_without_evaluations_is_not_made_up_from_others() -> None:
    for segment in (Segment("a", 300, 500), Segment("a", 110, 140)):
        assert math.isnan(area(SCORES, segment))


def test_averages_of_what_is_defined() -> None:
    assert average({"a": 1, "b": NAN, "c": 4}) == 2.5
    assert math.isnan(average([NAN]))
    assert math.isnan(average({}))


@pytest.mark.parametrize(
    ("segments", "problem"),
    [
        ([], "at least one segment"),
        ([Segment("a", 5, 5)], "the segment of 'a' from 5 to 5 has no length"),
        ([Segment("a", 0, 10), Segment("b", 9, 20)], "the segment of 'b' begins at 9, before that of 'a' ends at 10"),
    ],
)
def test_streams_that_are_refused(segments: list[Segment], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        in_order(segments)


def test_visits() -> None:
    assert visits_of(SEGMENTS) == {"a": [SEGMENTS[0], SEGMENTS[2]], "b": [SEGMENTS[1]]}
