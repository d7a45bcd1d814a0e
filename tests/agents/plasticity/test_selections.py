"""Which units are picked, worked out by hand."""

import torch

from agents.plasticity.selections import select_below, select_lowest_rate

ALL = torch.ones(5, dtype=torch.bool)


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


def test_rate_without_a_signal_selects_and_accumulates_nothing() -> None:
    for utility in (torch.zeros(5), torch.tensor([1.0, torch.nan, 1.0, 1.0, 1.0]), torch.full((5,), torch.inf)):
        mask, left = select_lowest_rate(utility, ALL, torch.tensor(0.5), 0.9)
        assert not mask.any()
        torch.testing.assert_close(left, torch.tensor(0.5))


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
    assert not select_below(torch.zeros(5), ALL, 0.025).any()
    assert not select_below(torch.full((5,), torch.nan), ALL, 0.025).any()
    assert select_below(torch.zeros(5), ALL, 0.025, allow_full=True).all()
