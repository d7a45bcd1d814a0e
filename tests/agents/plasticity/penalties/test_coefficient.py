"""Coefficients that follow loss and churn, by hand."""

from __future__ import annotations

import pytest
import torch

from agents.plasticity.penalties.coefficient import Coefficient, Rule

DEVICE = torch.device("cpu")


def shown(coefficient: Coefficient, loss: float, churn: float, times: int = 1) -> float | None:
    for _ in range(times):
        coefficient.see(torch.tensor(loss), torch.tensor(churn))
    now = coefficient.now(torch.tensor(loss))
    return None if now is None else float(now)


def test_a_number_waits_for_the_end_of_the_warmup() -> None:
    coefficient = Coefficient(Rule(fixed=0.3, warmup=2), DEVICE)
    assert [shown(coefficient, 1.0, 1.0) for _ in range(3)] == [None, 0.3, 0.3]


def test_a_share_follows_each_loss() -> None:
    coefficient = Coefficient(Rule(relative=0.5), DEVICE)
    assert [shown(coefficient, loss, 1.0) for loss in (-2.0, 4.0)] == [1.0, 2.0]


def test_it_is_the_scale_times_the_ratio_of_the_means() -> None:
    """The window of two steps sees |loss| 3 and 5, and churn 1 and 3."""
    coefficient = Coefficient(Rule(scale=0.1, window=2, warmup=3), DEVICE)
    assert shown(coefficient, 100.0, 9.0) is None
    assert shown(coefficient, -3.0, 1.0) is None
    assert shown(coefficient, 5.0, 3.0) == pytest.approx(0.1 * 4 / 2)


def test_a_long_window_is_of_a_hundred_slots() -> None:
    coefficient = Coefficient(Rule(scale=1.0, window=1000, cap=1e9), DEVICE)
    assert shown(coefficient, 1.0, 1.0, 9) is None  # the first slot is not full
    assert shown(coefficient, 1.0, 1.0) == 1.0
    assert shown(coefficient, 3.0, 1.0, 9) == 1.0
    assert shown(coefficient, 3.0, 1.0) == 2.0
    assert shown(coefficient, 3.0, 1.0, 990) == 3.0  # the ones are out of it


def test_falling_churn_raises_it_at_most_to_twice_in_a_window_and_to_the_cap_in_all() -> None:
    """The churn falls to nothing: without bounds the coefficient would rise without end."""
    coefficient = Coefficient(Rule(scale=1.0, window=4, warmup=4, cap=3.0), DEVICE)
    first = shown(coefficient, 1.0, 0.5, 4)
    assert first == pytest.approx(2.0)
    found = [shown(coefficient, 1.0, 0.0) for _ in range(20)]
    assert found[0] == pytest.approx(2 * 2**0.25)
    assert found[3] == pytest.approx(2 * 2)
    assert found[-1] == pytest.approx(2 * 3)
    assert shown(coefficient, 10.0, 0.0, 4) == pytest.approx(10 * 2 * 3)  # a loss may grow at once
    assert shown(coefficient, 1.0, 5.0, 4) == pytest.approx(0.2)  # and it may fall at once
    assert shown(coefficient, 0.0, 5.0, 4) == 0.0
    assert shown(coefficient, 1.0, 5.0, 4) == pytest.approx(0.2)  # nor does it stay where a loss has vanished


def test_outputs_that_stand_still_say_nothing_of_what_is_natural() -> None:
    """Frozen all through the warm-up, they are held as firmly as others once they move, but for the `cap` at first."""
    coefficient = Coefficient(Rule(scale=1.0, window=4, warmup=3, cap=2.0), DEVICE)
    assert shown(coefficient, 1.0, 0.0, 5) == 0.0
    assert shown(coefficient, 1.0, 0.5) == pytest.approx(2 * 2)
    assert shown(coefficient, 1.0, 0.5, 3) == pytest.approx(2)
    coefficient.restart()
    assert shown(coefficient, 1.0, 0.1, 4) == pytest.approx(10)


def test_published_it_has_no_bounds_but_the_lowest() -> None:
    coefficient = Coefficient(Rule(scale=1.0, window=2, first=7.0, least=0.5), DEVICE)
    assert float(coefficient.now(torch.tensor(1.0))) == 7.0
    assert shown(coefficient, 1.0, 1.0) == pytest.approx(1.0)
    assert shown(coefficient, 1.0, 1e-6, 2) == pytest.approx(1 / (1e-6 + 1e-8), rel=1e-5)
    assert shown(coefficient, 0.1, 1.0, 2) == 0.5


def test_of_updates_it_takes_each_ones_mean() -> None:
    """Losses 1 and -3 have the mean -1 in their update; alone their mean size is 2."""
    coefficient = Coefficient(Rule(scale=1.0, window=3, warmup=2, by_update=True, first=9.0), DEVICE)
    coefficient.end_update()  # of nothing
    for loss, churn in ((1.0, 2.0), (-3.0, 4.0)):
        assert shown(coefficient, loss, churn) == 9.0
    coefficient.end_update()
    assert float(coefficient.now(torch.tensor(0.0))) == 9.0
    shown(coefficient, 5.0, 1.0)
    coefficient.end_update()
    assert float(coefficient.now(torch.tensor(0.0))) == pytest.approx((1 + 5) / (3 + 1))


def test_begun_anew_it_warms_up_again() -> None:
    coefficient = Coefficient(Rule(scale=1.0, window=2, warmup=2, cap=2.0), DEVICE)
    shown(coefficient, 1.0, 1.0, 4)
    coefficient.restart()
    assert shown(coefficient, 3.0, 0.5) is None
    assert shown(coefficient, 3.0, 0.5) == pytest.approx(6.0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_is_passed_over(bad: float) -> None:
    coefficient = Coefficient(Rule(scale=1.0, window=3), DEVICE)
    shown(coefficient, 2.0, 1.0)
    assert shown(coefficient, bad, 1.0) == 2.0
    assert shown(coefficient, 2.0, bad) == 2.0


def test_its_state_goes_on() -> None:
    rule = Rule(scale=1.0, window=7, warmup=3, cap=2.0)
    one, other = Coefficient(rule, DEVICE), Coefficient(rule, DEVICE)
    shown(one, 2.0, 1.0, 5)
    other.load_state_dict(one.state_dict())
    for loss, churn in ((1.0, 0.1), (4.0, 0.2), (2.0, 0.1)):
        assert shown(one, loss, churn) == shown(other, loss, churn)
