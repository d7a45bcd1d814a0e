"""Ages are drawn in proportion to their weights, to the last one."""

from __future__ import annotations

import numpy as np
import pytest

from agents.buffers.ages import AgeWeights


def counts(weights: AgeWeights, rows: int, draws: int) -> np.ndarray:
    """How often each age is drawn from numbers that lie evenly in [0, 1)."""
    ages = weights.draw(rows, (np.arange(draws) + 0.5) / draws)
    assert (ages.min(), ages.max()) == (1, rows)
    return np.bincount(ages, minlength=rows + 1)[1:]


def test_weights_of_five_rows() -> None:
    """0.75, 0.5 and three of 0.4 are 2.45 together: of 245 draws so many hundredths are of each."""
    assert counts(AgeWeights(0.25, 0.4), 5, 245).tolist() == [75, 50, 40, 40, 40]


def test_before_a_buffer_is_full_nothing_has_the_least_weight() -> None:
    assert counts(AgeWeights(0.25, 0.1), 2, 125).tolist() == [75, 50]
    assert counts(AgeWeights(0.25, 0.1), 1, 10).tolist() == [10]


def test_where_all_have_the_least_weight_draws_are_uniform() -> None:
    assert counts(AgeWeights(1.0, 0.1), 4, 40).tolist() == [10, 10, 10, 10]
    assert counts(AgeWeights(0.1, 1.0), 4, 40).tolist() == [10, 10, 10, 10]


@pytest.mark.parametrize("rows", [3, 40, 72, 73, 200])
@pytest.mark.parametrize(("slope", "least"), [(1 / 80, 0.1), (1 / 33, 0.1), (0.013, 0.57), (1e-9, 0.1), (0.3, 1e-6)])
def test_evenly_spread_numbers_give_each_age_its_share(slope: float, least: float, rows: int) -> None:
    ages = np.arange(1, rows + 1)
    expected = np.maximum(least, 1 - slope * ages)
    found = counts(AgeWeights(slope, least), rows, 10**6)
    assert np.abs(found - 1e6 * expected / expected.sum()).max() < 2  # one at either end of its stretch


def test_a_million_rows_are_no_dearer_than_one() -> None:
    """Published: a weight falls over 80,000 steps; 928,000 rows have the least one. No array is as long."""
    weights = AgeWeights(1 / 80_000, 0.1)
    on_top = sum(0.9 - age / 80_000 for age in range(1, 72_001))
    total = on_top + 0.1 * 1e6
    shares = np.array([0.0, 0.05, 0.1, 0.2, (on_top - 1e-6) / total, (on_top + 1e-6) / total, 0.9, 1 - 1e-16])
    found = weights.draw(10**6, shares)
    assert found.tolist()[0] == 1
    assert found.tolist()[4:] == [71_999, 1, found[6], 10**6]  # the 72,000th has 0 on top
    for share, age in zip(shares[1:4], found[1:4].tolist(), strict=True):
        below, at = (sum(0.9 - k / 80_000 for k in range(1, last + 1)) for last in (age - 1, age))
        assert below <= share * total < at
