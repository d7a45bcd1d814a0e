"""Which units are picked, and how much of them, worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from agents.plasticity.registry import SELECTIONS
from agents.plasticity.selections import (
    Absolute,
    Budget,
    Calibrated,
    LayerUtilities,
    Percentage,
    Rate,
    Selection,
    Threshold,
    calibrated_amounts,
    has_signal,
    select_below,
    select_lowest_rate,
    select_lowest_share,
    select_within_budget,
)

ALL = torch.ones(5, dtype=torch.bool)
SILENT = (torch.zeros(5), torch.tensor([1.0, torch.nan, 1.0, 1.0, 1.0]), torch.full((5,), torch.inf))
"""Utilities that rank nothing."""


def candidates(utility: Sequence[float] | Tensor, young: Sequence[int] = (), left: float = 0.0) -> LayerUtilities:
    utility = torch.as_tensor(utility)
    eligible = torch.ones(len(utility), dtype=torch.bool)
    eligible[list(young)] = False
    return LayerUtilities(utility, eligible, torch.tensor(left))


def picked(amounts: Tensor) -> list[int]:
    assert set(amounts.tolist()) <= {0.0, 1.0}
    return amounts.nonzero().flatten().tolist()


# ---------------------------------------------------------------------------------------------------- rate


def test_rate_accumulates_fractions_and_picks_the_lowest() -> None:
    utility, left = torch.tensor([3.0, 1.0, 2.0, 5.0, 4.0]), torch.zeros(())
    mask, left = select_lowest_rate(utility, ALL, left, 0.3)  # 1.5 units are due
    assert mask.tolist() == [False, True, False, False, False]
    torch.testing.assert_close(left, torch.tensor(0.5))
    mask, left = select_lowest_rate(utility, ALL, left, 0.3)  # 2 units are due
    assert mask.tolist() == [False, True, True, False, False]
    torch.testing.assert_close(left, torch.tensor(0.0))


def test_rate_counts_and_picks_eligible_units_alone() -> None:
    eligible = torch.tensor([True, False, False, True, True])
    mask, left = select_lowest_rate(torch.tensor([3.0, 1.0, 2.0, 5.0, 4.0]), eligible, torch.zeros(()), 0.5)
    assert mask.tolist() == [True, False, False, False, False]
    torch.testing.assert_close(left, torch.tensor(0.5))


def test_rate_of_everything_spares_what_is_not_eligible() -> None:
    eligible = torch.tensor([True, False, True, False, True])
    mask, _ = select_lowest_rate(torch.arange(1.0, 6.0), eligible, torch.tensor(0.9), 1.0)
    assert mask.tolist() == eligible.tolist()


@pytest.mark.parametrize("utility", SILENT)
def test_rate_without_a_signal_selects_and_accumulates_nothing(utility: Tensor) -> None:
    mask, left = select_lowest_rate(utility, ALL, torch.tensor(0.5), 0.9)
    assert not mask.any()
    torch.testing.assert_close(left, torch.tensor(0.5))


def test_rate_is_per_gradient_step_and_each_layer_has_its_own_rest() -> None:
    layers = [candidates([3.0, 1.0, 2.0, 5.0, 4.0]), candidates([2.0, 1.0, 3.0, 4.0], young=[1], left=0.9)]
    (first, rest), (second, other) = Rate(0.002).select(layers, 300, None)  # 0.6 of 5 and of 3 units
    assert picked(first) == [0, 1, 2]
    torch.testing.assert_close(rest, torch.tensor(0.0))
    assert picked(second) == [0, 2]
    torch.testing.assert_close(other, torch.tensor(0.7))


def test_rate_leaves_part_of_a_layer_and_forgoes_what_is_due_above_that() -> None:
    """A layer that is all new passes nothing on."""
    layer = candidates([3.0, 1.0, 2.0, 5.0, 4.0], left=0.6)
    ((amounts, left),) = Rate(0.9).select([layer], 1, None)  # 5.1 are due, half of five is rounded up
    assert picked(amounts) == [0, 1, 2]
    torch.testing.assert_close(left, torch.tensor(0.1))
    ((amounts, _),) = Rate(0.9, cap=0.2).select([layer], 1, None)
    assert picked(amounts) == [1]
    ((amounts, _),) = Rate(0.9, cap=1.0).select([layer], 1, None)
    assert picked(amounts) == [0, 1, 2, 3, 4]


def test_many_small_steps_replace_what_a_large_one_does() -> None:
    layer, count = candidates(torch.arange(1.0, 9.0)), 0
    for _ in range(1000):
        ((amounts, left),) = Rate(1e-3).select([layer], 1, None)  # .008 of a unit in each step
        count, layer = count + len(picked(amounts)), LayerUtilities(layer.utility, layer.eligible, left)
    assert (count, round(float(left), 3)) in ((8, 0.0), (7, 1.0))  # rounding may hold the last one back


# ---------------------------------------------------------------------------------------------------- threshold


def test_threshold_is_on_the_score_over_the_layers_mean() -> None:
    utility = torch.tensor([0.0, 0.2, 1.0, 2.8, 1.0])  # mean 1
    assert select_below(utility, ALL, 0.0).tolist() == [True, False, False, False, False]
    assert select_below(utility, ALL, 0.2).tolist() == [True, True, False, False, False]
    assert select_below(10 * utility, ALL, 0.2).tolist() == [True, True, False, False, False]


def test_threshold_takes_the_lowest_up_to_its_cap() -> None:
    utility = torch.tensor([0.3, 0.2, 0.1, 4.0, 0.4])
    assert select_below(utility, ALL, 0.5, cap=0.4).tolist() == [False, True, True, False, False]
    assert select_below(utility, ALL, 0.5, cap=0.01).tolist() == [False, False, True, False, False]
    eligible = torch.tensor([True, True, False, True, True])
    assert select_below(utility, eligible, 0.5, cap=0.4).tolist() == [True, True, False, False, False]


def test_a_layer_without_signal_is_left_unless_allowed() -> None:
    """METHODS 15.9."""
    for utility in SILENT:
        assert not select_below(utility, ALL, 0.025).any()
    assert select_below(torch.zeros(5), ALL, 0.025, allow_full=True).all()
    assert not select_below(SILENT[1], ALL, 0.025, allow_full=True).any()


def test_threshold_of_several_layers() -> None:
    # means 2 and 10: the line at .25 is .5 and 2.5
    layers = [candidates([0.5, 3.5, 0.6, 3.4], left=0.3), candidates([2.0, 2.4, 2.5, 33.1], young=[1])]
    (first, left), (second, _) = Threshold(0.25, cap=0.5).select(layers, 1000, None)
    assert picked(first) == [0]
    assert picked(second) == [0, 2]
    torch.testing.assert_close(left, torch.tensor(0.3))
    silent = candidates([0.0, 0.0], young=[1])
    assert [picked(Threshold(0.1, allow_full=full).select([silent], 1, None)[0][0]) for full in (False, True)] == [
        [], [0],
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------------- percentage


def test_percentage_takes_the_lowest_share_rounded_up() -> None:
    utility = torch.tensor([3.0, 1.0, 2.0, 5.0, 4.0])
    assert select_lowest_share(utility, ALL, 0.4).tolist() == [False, True, True, False, False]
    assert select_lowest_share(utility, ALL, 0.41).tolist() == [True, True, True, False, False]
    assert select_lowest_share(utility, ALL, 1e-9).tolist() == [False, True, False, False, False]
    assert select_lowest_share(utility, ALL, 1.0).all()
    for silent in SILENT:
        assert not select_lowest_share(silent, ALL, 1.0).any()


def test_percentage_is_of_the_layer_and_spares_young_units() -> None:
    layers = [candidates([3.0, 1.0, 2.0, 5.0, 4.0], young=[1]), candidates([1.0, 2.0], young=[0, 1], left=0.4)]
    (first, _), (second, left) = Percentage(0.4).select(layers, 1, None)
    assert picked(first) == [0, 2]
    assert picked(second) == []
    torch.testing.assert_close(left, torch.tensor(0.4))


# ---------------------------------------------------------------------------------------------------- budget


def test_budget_takes_the_cheapest_of_all_layers_while_the_sum_stays_within() -> None:
    costs = [torch.tensor([3.0, 1.0, 8.0]), torch.tensor([2.0, 4.0, 0.5])]
    everyone = [ALL[:3], ALL[:3]]

    def chosen(budget: float, cap: float = 1.0) -> list[list[int]]:
        masks = select_within_budget(costs, everyone, torch.tensor(budget), cap)
        return [mask.nonzero().flatten().tolist() for mask in masks]

    assert chosen(0.4) == [[], []]
    assert chosen(0.5) == [[], [2]]
    assert chosen(1.4) == [[], [2]]  # .5 + 1 would be more
    assert chosen(3.5) == [[1], [0, 2]]
    assert chosen(10.4) == [[0, 1], [0, 2]]  # .5 + 1 + 2 + 3, and 4 would be more: 8 is not taken in its place
    assert chosen(18.5) == [[0, 1, 2], [0, 1, 2]]
    assert chosen(18.5, cap=0.5) == [[1], [0, 2]]
    assert chosen(18.5, cap=0.51) == [[0, 1], [0, 2]]  # 3.06 units, rounded up
    assert chosen(math.nan) == [[], []]


def test_budget_leaves_young_units_and_layers_without_a_signal() -> None:
    costs = [torch.tensor([0.0, 0.0]), torch.tensor([2.0, 0.0, 1.0]), torch.tensor([torch.nan, 0.1])]
    eligible = [torch.ones(2, dtype=torch.bool), torch.tensor([True, False, True]), torch.ones(2, dtype=torch.bool)]
    masks = select_within_budget(costs, eligible, torch.tensor(100.0))
    assert [mask.tolist() for mask in masks] == [[False, False], [True, False, True], [False, False]]


def test_budget_is_a_share_of_the_loss() -> None:
    layers = [candidates([3.0, 1.0], left=0.2), candidates([2.0, 9.0])]
    (first, left), (second, _) = Budget(0.25).select(layers, 1000, torch.tensor(12.0))
    assert picked(first) == [1]
    assert picked(second) == [0]
    torch.testing.assert_close(left, torch.tensor(0.2))
    assert [picked(amounts) for amounts, _ in Budget(0.25, cap=0.25).select(layers, 1, torch.tensor(99.0))] == [[1], []]


# ---------------------------------------------------------------------------------------------------- calibrated


def test_calibrated_amounts_are_the_papers() -> None:
    """rate * min(2 sigmoid(-16 (u - 1)), 1), u the utility over the layer's mean."""
    utility = torch.tensor([2.0, 4.0, 4.2, 3.8, 6.0])  # u = .5, 1, 1.05, .95, 1.5
    expected = [0.015, 0.015, 0.015 * 2 / (1 + math.exp(0.8)), 0.015, 0.015 * 2 / (1 + math.exp(8))]
    torch.testing.assert_close(calibrated_amounts(utility, 0.015, 16, 1), torch.tensor(expected))
    lower = [min(1, 2 / (1 + math.exp(3 * (u - 0.7)))) for u in (0.5, 1.0, 1.05, 0.95, 1.5)]
    torch.testing.assert_close(calibrated_amounts(utility, 1.0, 3, 0.7), torch.tensor(lower))


def test_calibrated_spares_young_units_and_layers_without_a_signal() -> None:
    layer = candidates([2.0, 4.0, 4.2, 3.8, 6.0], young=[1], left=0.1)
    ((amounts, left),) = Calibrated().select([layer], 1000, None)
    expected = calibrated_amounts(layer.utility, 0.015, 16.0, 1.0)
    expected[1] = 0
    torch.testing.assert_close(amounts, expected)
    torch.testing.assert_close(left, torch.tensor(0.1))
    for silent in SILENT:
        assert not Calibrated().select([candidates(silent)], 1, None)[0][0].any()


# ---------------------------------------------------------------------------------------------------- absolute


def test_absolute_looks_at_each_unit_by_itself() -> None:
    layer = candidates([0.3, 0.1, 0.2, 0.1, 0.1], young=[4], left=0.5)
    ((amounts, left),) = Absolute(0.1).select([layer], 7, None)
    assert picked(amounts) == [1, 3]
    assert left == 0.5
    for silent in SILENT:
        assert not Absolute(0.1).select([candidates(silent)], 1, None)[0][0].any()
    assert picked(Absolute(0.1, allow_full=True).select([candidates(SILENT[0], young=[4])], 1, None)[0][0]) == [
        0,
        1,
        2,
        3,
    ]


# ---------------------------------------------------------------------------------------------------- all


SOME: dict[str, Selection] = {
    "rate": Rate(0.3), "threshold": Threshold(0.9), "percentage": Percentage(0.4), "budget": Budget(0.1),
    "calibrated": Calibrated(), "absolute": Absolute(0.25),
}  # fmt: skip


def test_every_selection_is_tried_here() -> None:
    assert {name: type(selection) for name, selection in SOME.items()} == {
        name: entry.resolve() for name, entry in SELECTIONS.items()
    }


@pytest.mark.parametrize("name", SOME)
def test_amounts_have_the_utilitys_type_and_place(name: str) -> None:
    """The order of the units does not matter, and utilities of another size pick the same but for what has a scale."""
    utility = torch.tensor([0.3, 0.1, 0.2, 0.9, 0.5], dtype=torch.float64)
    order = torch.tensor([4, 2, 0, 1, 3])
    loss = torch.tensor(8.0, dtype=torch.float64)
    ((amounts, left),) = SOME[name].select([candidates(utility)], 1, loss)
    ((moved, _),) = SOME[name].select([candidates(utility[order])], 1, loss)
    assert amounts.dtype == torch.float64
    assert amounts.shape == (5,)
    assert left.shape == ()
    assert 0 < amounts.sum() < 5
    assert torch.equal(amounts[order], moved)
    if name not in ("budget", "absolute"):
        ((scaled, _),) = SOME[name].select([candidates(100 * utility)], 1, loss)
        torch.testing.assert_close(scaled, amounts)


def test_a_signal_is_a_finite_mean_above_nothing() -> None:
    assert has_signal(torch.tensor([0.0, 1e-11]))
    assert not has_signal(torch.tensor([0.0, 1e-12]))
    assert not any(has_signal(utility) for utility in SILENT)


WRONG = [
    (Rate, {"rate": -0.1}, r"rate is -0\.1; give a share of units per gradient step between 0 and 1"),
    (Rate, {"rate": 1.1}, r"rate is 1\.1; give a share"),
    (Rate, {"rate": math.nan}, "rate is nan; give a share"),
    (Rate, {"rate": 0.1, "cap": 0}, "cap is 0; give a share of a layer above 0 and at most 1"),
    (Threshold, {"tau": -1}, "tau is -1; give a threshold of at least 0"),
    (Threshold, {"tau": 0.1, "cap": 0}, "cap is 0; give a share of a layer above 0 and at most 1"),
    (Threshold, {"tau": 0.1, "cap": 1.5}, r"cap is 1\.5; give a share of a layer"),
    (Absolute, {"tau": math.inf}, "tau is inf; give a threshold on utilities, which is a number"),
    (Percentage, {"share": 0}, "share is 0; give a share of a layer above 0 and at most 1"),
    (Percentage, {"share": 1.01}, r"share is 1\.01; give"),
    (Budget, {"share": 0}, "share is 0; give a share of the loss above 0"),
    (Budget, {"share": 1, "cap": 0}, "cap is 0; give a share of the network's units"),
    (Calibrated, {"rate": 0}, "rate is 0; give the part of a unit to replace, above 0 and at most 1"),
    (Calibrated, {"sharpness": -1}, "sharpness is -1; give a number above 0"),
    (Calibrated, {"threshold": 0}, "threshold is 0; give a number above 0"),
    (Calibrated, {"sharpness": True}, "sharpness is True; give a number above 0"),
]


@pytest.mark.parametrize(("kind", "arguments", "message"), WRONG)
def test_impossible_arguments_are_refused(kind: type, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        kind(**arguments)


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e-11])
def test_threshold_does_not_depend_on_the_scale_of_the_utilities(scale: float) -> None:
    """Gradients of 1e-11 are small as a whole: no unit is lower in its layer for that."""
    utility = scale * torch.tensor([1.0, 0.01, 1.0, 1.0, 1.0])
    assert select_below(utility, ALL, 0.025).tolist() == [False, True, False, False, False]


def test_negative_utilities_are_ranked_though_they_have_no_scale() -> None:
    utility = torch.tensor([-1.0, -5.0, -2.0, -3.0, -4.0])
    assert has_signal(utility)
    mask, left = select_lowest_rate(utility, ALL, torch.tensor(0.0), 0.4)
    assert mask.tolist() == [False, True, False, False, True]
    assert left == 0
    assert not select_below(utility, ALL, 0.025).any()
    assert not calibrated_amounts(utility, 0.5, 16.0, 1.0).any()
