"""Running means that are corrected for the age of each unit."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from agents.plasticity.resets.running import RunningMean

CPU = torch.device("cpu")


def mean_of(shape: tuple[int, ...], *values: list, keep: float = 0.5) -> RunningMean:
    mean = RunningMean(shape, CPU)
    for value in values:
        mean.take_in(torch.tensor(value), keep)
    return mean


def test_a_bias_corrected_exponential_mean() -> None:
    # weights of a quarter and a half, over their sum
    found = mean_of((2,), [4.0, 0.0], [1.0, 3.0]).value()
    torch.testing.assert_close(found, torch.tensor([(4 / 4 + 1 / 2) / 0.75, (0 + 3 / 2) / 0.75]))
    torch.testing.assert_close(mean_of((1,), [7.0], keep=0.999).value(), torch.tensor([7.0]))


def test_against_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(50, 3, 2, generator=generator, dtype=torch.float64)
    mean, keep = RunningMean((3, 2), CPU), 0.9
    for value in values:
        mean.take_in(value.float(), keep)
    weights = torch.tensor([(1 - keep) * keep ** (49 - n) for n in range(50)], dtype=torch.float64)
    expected = (weights.view(-1, 1, 1) * values).sum(0) / (1 - keep**50)
    torch.testing.assert_close(mean.value(), expected.float())


def test_without_a_decay_the_last_value_counts() -> None:
    assert mean_of((2,), [4.0, 0.0], [1.0, 3.0], keep=0.0).value().tolist() == [1.0, 3.0]


def test_a_unit_that_has_gathered_nothing_has_no_mean() -> None:
    assert RunningMean((2, 3), CPU).value().isnan().all()


def test_cleared_units_begin_anew() -> None:
    mean = mean_of((2, 2), [[4.0, 4.0], [2.0, 2.0]])
    mean.clear(torch.tensor([True, False]))
    assert torch.equal(mean.value().isnan(), torch.tensor([[True, True], [False, False]]))
    mean.take_in(torch.tensor([[1.0, 5.0], [8.0, 2.0]]), 0.5)
    torch.testing.assert_close(mean.value(), torch.tensor([[1.0, 5.0], [(2 / 4 + 8 / 2) / 0.75, 2.0]]))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_passed_over(bad: float) -> None:
    mean = mean_of((2,), [4.0, 2.0])
    finite = mean.take_in(torch.tensor([bad, 8.0]), 0.5)
    assert finite.tolist() == [False, True]
    torch.testing.assert_close(mean.value(), torch.tensor([4.0, 6.0]))
    by_position = mean_of((2, 2), [[4.0, 4.0], [2.0, 2.0]])
    assert by_position.take_in(torch.tensor([[1.0, bad], [8.0, 2.0]]), 0.5).tolist() == [False, True]
    torch.testing.assert_close(by_position.value(), torch.tensor([[4.0, 4.0], [6.0, 2.0]]))


def test_tensors_stay_the_same_objects() -> None:
    mean = RunningMean((2,), CPU)
    held: tuple[Tensor, Tensor] = (mean.total, mean.weight)
    mean.take_in(torch.ones(2), 0.5)
    mean.clear(torch.tensor([True, False]))
    assert (mean.total, mean.weight)[0] is held[0]
    assert mean.weight is held[1]
    assert held[1].tolist() == [0.0, 0.5]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_values_of_any_floating_dtype_are_taken_in(dtype: torch.dtype) -> None:
    mean = mean_of((2,), [4.0, 0.0])
    mean.take_in(torch.tensor([1.0, 3.0], dtype=dtype), 0.5)
    assert torch.equal(mean.value(), mean_of((2,), [4.0, 0.0], [1.0, 3.0]).value())
