"""Ranks of spectra that are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from agents.plasticity.diagnostics import (
    dominant_share,
    effective_rank,
    eigenvalues,
    singular_values,
    srank,
    stable_rank,
)


def ranks(features: Tensor) -> list[float]:
    sigma = singular_values(features)
    return [rank(sigma).item() for rank in (srank, effective_rank, stable_rank, dominant_share)]


def test_identity() -> None:
    assert ranks(torch.cat([torch.eye(6)] * 3)) == pytest.approx([6, 6, 6, 1 / 6])


def test_rank_one() -> None:
    one = torch.outer(torch.arange(1.0, 9.0), torch.ones(4))
    assert ranks(one) == pytest.approx([1, 1, 1, 1], rel=1e-5)


def test_geometric() -> None:
    p = [8 / 15, 4 / 15, 2 / 15, 1 / 15]
    entropy = -sum(x * math.log(x) for x in p)
    assert ranks(torch.diag(torch.tensor([2.0, 8.0, 1.0, 4.0]))) == pytest.approx(
        [4, math.exp(entropy), (64 + 16 + 4 + 1) / 64, 8 / 15]
    )


def test_srank_is_the_smallest_number_that_reaches_the_share() -> None:
    sigma = torch.tensor([8.0, 4.0, 2.0, 1.0], dtype=torch.float64)  # cumulated: 8, 12, 14, 15 of 15
    assert [srank(sigma, delta).item() for delta in (0.01, 0.1, 0.2, 0.21, 0.5)] == [4, 3, 2, 2, 1]
    even = torch.ones(100, dtype=torch.float64)  # 99 of 100 are exactly the share
    assert srank(even).item() == 99


def test_zero_features_have_rank_zero_and_broken_ones_none() -> None:
    assert ranks(torch.zeros(5, 3)) == [0, 0, 0, 0]
    assert all(math.isnan(rank) for rank in ranks(torch.full((5, 3), math.nan)))
    assert all(math.isnan(rank) for rank in ranks(torch.full((5, 3), math.inf)))


def test_one_sample() -> None:
    assert ranks(torch.tensor([[3.0, 4.0]])) == pytest.approx([1, 1, 1, 1])
    assert singular_values(torch.tensor([[3.0, 4.0]])).tolist() == pytest.approx([5.0])


@pytest.mark.parametrize("shape", [(20, 6), (6, 20), (30, 2, 3, 2)])
def test_singular_values_are_those_of_the_flattened_features(shape: tuple[int, ...]) -> None:
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = torch.linalg.svdvals(features.flatten(1).double())
    torch.testing.assert_close(singular_values(features), expected, rtol=1e-9, atol=1e-9)


def test_eigenvalues_fall_and_are_never_negative() -> None:
    found = eigenvalues(torch.diag(torch.tensor([1.0, 3.0, -1e-9])))
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx([3, 1, 0])
