"""Scored steps: one in each window, at all places of an iteration alike."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from agents.plasticity.schedule import is_scored, scorings


@pytest.mark.parametrize("every", [1, 2, 3, 7, 16, 1000])
def test_each_window_has_one(every: int) -> None:
    found = [step for step in range(1, 40 * every + 1) if is_scored(step, every)]
    assert [(step - 1) // every for step in found] == list(range(40))
    assert [scorings(step, every) for step in (0, every, 40 * every, found[-1] - 1)] == [0, 1, 40, 39]
    gaps = [late - early for early, late in pairwise(found)]
    assert 0.6 * every - 1 < min(gaps) <= max(gaps) < 1.7 * every + 1


def test_at_every_step_where_all_are_asked_for() -> None:
    assert all(is_scored(step, 1) for step in range(1, 100))


@pytest.mark.parametrize("every", [2, 5, 16])
@pytest.mark.parametrize(
    ("epochs", "batches", "each", "within"),
    [(4, 8, 200, 0.1), (10, 1, 200, 0.1), (1, 16, 200, 0.1), (3, 7, 200, 0.1), (10, 32, 40, 0.1), (4, 64, 40, 0.1)],
)
def test_all_places_of_an_iteration_come_equally_often(
    epochs: int, batches: int, each: int, within: float, every: int
) -> None:
    """In so many scorings for each place."""
    length = epochs * batches
    steps = range(1, every * length * each + 1)
    places = Counter((step - 1) % length for step in steps if is_scored(step, every))
    assert sum(places.values()) == each * length
    assert len(places) == length
    assert each * (1 - within) <= min(places.values()) <= max(places.values()) <= each * (1 + within)


def test_steps_far_from_the_start_are_exact() -> None:
    """No rounding: a long run scores one in each window, too."""
    start = 10**12 + 3
    assert sum(is_scored(step, 16) for step in range(16 * start + 1, 16 * (start + 50) + 1)) == 50
