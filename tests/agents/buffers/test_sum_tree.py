"""Draws in proportion to numbers, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from agents.buffers.sum_tree import FANOUT, SumTree


def filled(numbers: list[float]) -> SumTree:
    tree = SumTree((len(numbers),))
    tree[np.arange(len(numbers))] = np.array(numbers)
    return tree


def test_four_numbers() -> None:
    tree = filled([1, 0, 3, 4])
    assert tree.total == 8
    # The running sums are 1, 1, 4 and 8: shares of an eighth, a half and all.
    assert tree.draw(np.array([0, 0.124, 0.125, 0.49, 0.5, 1 - 2**-53])).tolist() == [0, 0, 2, 2, 3, 3]
    tree[np.array([3, 0, 0])] = np.array([0.0, 9.0, 2.0])  # of an index given twice the last number counts
    assert tree.numbers.tolist() == [2, 0, 3, 0]
    assert tree.draw(np.array([0.39, 0.41, 1 - 2**-53])).tolist() == [0, 2, 2]


def test_two_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.buffers.sum_tree.WIDEST", FANOUT)
    tree = filled([1.0] * FANOUT + [0.0] * FANOUT + [2.0, 30.0])
    assert tree.total == FANOUT + 32
    points = np.array([0, FANOUT - 0.5, FANOUT, FANOUT + 1.9, FANOUT + 2, FANOUT + 31.9])
    expected = [0, FANOUT - 1, 2 * FANOUT, 2 * FANOUT, 2 * FANOUT + 1, 2 * FANOUT + 1]
    assert tree.draw(points / tree.total).tolist() == expected


def test_sums_do_not_depend_on_how_the_numbers_came_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.buffers.sum_tree.WIDEST", FANOUT)  # three levels
    random = np.random.default_rng(0)
    tree, again = SumTree((700, 3)), SumTree((700, 3))
    for _ in range(50):
        tree[random.integers(2100, size=40)] = random.random(40) ** 4
    again.numbers[...] = tree.numbers
    again.sum_up()
    shares = random.random(500)
    assert tree.total == again.total
    drawn = tree.draw(shares)
    assert np.array_equal(drawn, again.draw(shares))
    assert (tree[drawn] > 0).all()
    running = tree.numbers.ravel().cumsum()
    assert np.array_equal(drawn, np.searchsorted(running, shares * running[-1], side="right"))


@pytest.mark.parametrize("strange", [np.nan, np.inf, -1.0])
def test_what_is_no_number_of_at_least_0_is_refused(strange: float) -> None:
    tree = SumTree((4, 2))
    tree.numbers[2, 1] = strange
    with pytest.raises(ValueError, match="not all numbers of at least 0"):
        tree.sum_up()


def test_nothing_is_drawn_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing is there that could be drawn"):
        SumTree((4, 2)).draw(np.array([0.5]))
