"""Shares of units and activations, counted by hand."""

from __future__ import annotations

import math

import pytest
import torch

from agents.plasticity.diagnostics import dormant_ratio, fau, grama_ratio, saturated_fraction


def test_dormant_ratio_is_over_the_units_of_all_layers() -> None:
    alive = torch.tensor([[1.0, -1.0, 0.0, 2.0]])  # scores over the mean: 1, 1, 0, 2
    quiet = torch.tensor([[0.05, 1.95]])  # scores over the mean: .05 and 1.95
    assert dormant_ratio([alive]).item() == pytest.approx(1 / 4)
    assert dormant_ratio([alive, quiet]).item() == pytest.approx(1 / 6)
    assert dormant_ratio([alive, quiet], tau=0.1).item() == pytest.approx(2 / 6)
    assert dormant_ratio([alive, quiet], tau=0.0).item() == pytest.approx(1 / 6)
    assert dormant_ratio([quiet], tau=0.0).item() == 0.0
    assert dormant_ratio([torch.zeros(3, 2, 4, 4)]).item() == 1.0


def test_a_dormant_channel_is_silent_at_all_positions() -> None:
    maps = torch.zeros(2, 4, 3, 3)
    maps[:, 1:3] = 1.0
    maps[0, 3, 2, 2] = 1.0  # 1/18 of the activity of a full channel: 0.108 of the mean of (0, 1, 1, 1/18)
    assert dormant_ratio([maps], tau=0.1).item() == pytest.approx(1 / 4)
    assert dormant_ratio([maps], tau=0.11).item() == pytest.approx(2 / 4)


def test_grama_ratio_is_over_the_units_of_all_layers() -> None:
    linear = torch.tensor([[1.0, -1.0], [0.0, 0.0]])  # scores over the mean: 2, 0
    kernels = torch.tensor([0.004, -1.996]).view(2, 1, 1, 1).expand(2, 3, 2, 2)  # .004 and 1.996
    assert grama_ratio([linear, kernels]).item() == pytest.approx(2 / 4)
    assert grama_ratio([linear, kernels], tau=0.0).item() == pytest.approx(1 / 4)


def test_fau_is_a_density_over_samples_units_and_positions() -> None:
    vectors = torch.tensor([[1.0, -1.0], [0.0, 2.0]])
    maps = torch.tensor([[[[0.1, 5.0], [3.0, -1.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    assert fau([vectors]).item() == pytest.approx(2 / 4)
    assert fau([vectors, maps]).item() == pytest.approx(5 / 12)


def test_saturated_units_sit_at_a_bound_on_more_than_99_percent_of_samples() -> None:
    tanh = torch.zeros(200, 4)
    tanh[:, 0] = 0.995
    tanh[1:, 1] = -0.995  # 99.5% of samples
    tanh[:100, 2], tanh[102:, 2] = 0.995, -0.995  # exactly 99%
    assert saturated_fraction([tanh], [-1.0]).item() == pytest.approx(2 / 4)
    sigmoid = torch.tensor([0.005, 0.5]).expand(200, 2)
    assert saturated_fraction([sigmoid], [0.0]).item() == pytest.approx(1 / 2)
    assert saturated_fraction([tanh, sigmoid], [-1.0, 0.0]).item() == pytest.approx(3 / 6)
    maps = tanh.T.reshape(4, 2, 10, 10).transpose(0, 1)  # the same 200 values of each channel
    assert saturated_fraction([maps], [-1.0]).item() == pytest.approx(2 / 4)


def test_nan_is_not_taken_for_a_sound_unit() -> None:
    broken = [torch.ones(3, 2), torch.full((3, 2), math.nan)]
    for value in (dormant_ratio(broken), grama_ratio(broken), fau(broken), saturated_fraction(broken, [-1.0, -1.0])):
        assert math.isnan(value.item())
