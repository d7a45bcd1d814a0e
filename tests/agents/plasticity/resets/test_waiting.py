"""Selections in which no unit can have fallen due are left out, and what is due waits."""

from __future__ import annotations

import pytest
from small_loop import Regression
from torch import nn

from agents.plasticity import GXD
from agents.plasticity.resets.waiting import Waiting
from agents.plasticity.selections import Budget, Calibrated, Percentage, Rate, Selection, Threshold
from agents.plasticity.units import UnitLayer, sequential


def layers() -> tuple[UnitLayer, ...]:
    """Of 8 and of 20 units."""
    return sequential(nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 20), nn.ReLU(), nn.Linear(20, 1))).layers


def test_a_layer_is_selected_from_when_a_whole_unit_may_have_fallen_due() -> None:
    """0.05 of 8 and of 20 units in each period: 0.4, 0.8, 1.2 and 1."""
    small, large = layers()
    waiting = Waiting((small, large), Rate(0.005), maturity=0)
    assert [waiting.fall_due(small, 10, age) for age in range(8)] == [None, None, 30, None, 20, None, None, 30]
    assert [waiting.fall_due(large, 10, age) for age in range(3)] == [10, 10, 10]


def test_nothing_falls_due_before_a_unit_is_old_enough() -> None:
    small, large = layers()
    for selection in (Rate(0.1), Percentage(0.1)):
        waiting = Waiting((small, large), selection, maturity=25)
        assert [waiting.fall_due(large, 10, age) for age in (10, 20, 30, 40)] == [None, None, 10, 10]
    waiting = Waiting((small, large), Rate(0.005), maturity=25)
    assert [waiting.fall_due(small, 10, age) for age in (10, 20, 30, 40, 50)] == [None, None, None, None, 30]


@pytest.mark.parametrize("selection", [Threshold(0.1), Percentage(0.01), Budget(0.1), Calibrated()])
def test_other_selections_may_replace_a_unit_at_any_time(selection: Selection) -> None:
    small, large = layers()
    waiting = Waiting((small, large), selection, maturity=0)
    assert [waiting.fall_due(layer, 1, 0) for layer in (small, large, small)] == [1, 1, 1]


def test_what_waits_is_saved() -> None:
    small, large = layers()
    one, other = (Waiting((small, large), Rate(0.005), maturity=0) for _ in range(2))
    one.fall_due(small, 10, 0), one.fall_due(small, 10, 0)
    other.load_state_dict(one.state_dict())
    assert other.fall_due(small, 10, 0) == 30


def test_a_rate_keeps_its_promise_at_small_periods() -> None:
    """0.002 of 20 units at every step: one in each 25 of each layer."""
    learner = Regression([GXD(rate=0.002, period=1, maturity=0, score_every=1)])
    for _ in range(110):
        learner.train(1)
    assert learner.resets_at() == [25, 50, 75, 100]
    assert learner.count() == 8
