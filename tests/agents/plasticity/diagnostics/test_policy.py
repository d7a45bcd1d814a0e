"""Entropy and saturation of policies that are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Normal

from agents.plasticity.diagnostics import entropy, saturation
from agents.plasticity.diagnostics.policy import is_discrete


def categorical(*largest: float) -> Categorical:
    """Three actions; the first has that probability in each state."""
    return Categorical(probs=torch.tensor([[p, 1 - p, 0.0] for p in largest], dtype=torch.float64))


def test_entropy_sums_over_parts_and_averages_over_states() -> None:
    assert entropy([categorical(0.5, 1.0)]).item() == pytest.approx(math.log(2) / 2)
    assert entropy([categorical(0.5, 0.5), categorical(0.5, 1.0)]).item() == pytest.approx(1.5 * math.log(2))
    assert entropy([Bernoulli(probs=torch.full((4, 3), 0.5))]).item() == pytest.approx(3 * math.log(2))
    gaussian = Normal(torch.zeros(4, 2), torch.ones(4, 2))
    assert entropy([gaussian]).item() == pytest.approx(math.log(2 * math.pi * math.e))


def test_saturation_is_the_share_of_states_with_one_likely_action() -> None:
    assert saturation([categorical(0.9995, 0.9985, 0.5, 1.0)]).item() == pytest.approx(2 / 4)
    assert saturation([categorical(0.9995, 0.9985)], threshold=0.998).item() == 1.0


def test_the_likeliest_action_of_several_parts_is_the_product() -> None:
    part = categorical(0.9995, 1.0)
    assert saturation([part, part]).item() == 1.0  # .99900025
    assert saturation([part, part, part]).item() == pytest.approx(1 / 2)  # .9985
    coins = Bernoulli(probs=torch.tensor([[0.0005, 0.9995], [0.0005, 0.5]], dtype=torch.float64))
    assert saturation([coins]).item() == pytest.approx(1 / 2)


def test_saturation_is_of_discrete_policies() -> None:
    gaussian = Normal(torch.zeros(4, 2), torch.ones(4, 2))
    assert is_discrete([categorical(0.5), Bernoulli(probs=torch.full((1, 2), 0.5))])
    assert not is_discrete([categorical(0.5), gaussian])
    assert not is_discrete([])
