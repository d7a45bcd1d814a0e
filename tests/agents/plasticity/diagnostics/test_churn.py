"""Changes of outputs and policies, worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Distribution, Normal, StudentT

from agents.plasticity.diagnostics import absolute_change, greedy_change, policy_change, squared_change


def test_changes_of_values() -> None:
    old, new = torch.tensor([[1.0], [2.0]]), torch.tensor([[4.0], [1.0]])
    assert squared_change(old, new).item() == pytest.approx(5.0)
    assert absolute_change(old, new).item() == pytest.approx(2.0)


def test_greedy_change_counts_states() -> None:
    old = torch.tensor([[1.0, 2.0], [5.0, 0.0], [0.0, 1.0]])
    new = torch.tensor([[9.0, 0.0], [1.0, 0.0], [0.0, 7.0]])
    assert greedy_change(old, new).item() == pytest.approx(1 / 3)


HALF_TO_QUARTER = 0.5 * math.log(4 / 3)  # KL of (1/2, 1/2) from (1/4, 3/4)


def test_policy_change_sums_over_parts_and_averages_over_states() -> None:
    old = Categorical(probs=torch.tensor([[0.5, 0.5], [0.5, 0.5]]))
    new = Categorical(probs=torch.tensor([[0.25, 0.75], [0.5, 0.5]]))
    assert policy_change([old], [new]).item() == pytest.approx(HALF_TO_QUARTER / 2)
    assert policy_change([old, old], [new, new]).item() == pytest.approx(HALF_TO_QUARTER)
    assert policy_change([new], [old]).item() != pytest.approx(HALF_TO_QUARTER / 2, rel=0.01)  # no symmetry


def test_policy_change_of_coins_and_gaussians_sums_over_dimensions() -> None:
    coins, biased = Bernoulli(probs=torch.full((3, 2), 0.5)), Bernoulli(probs=torch.full((3, 2), 0.25))
    assert policy_change([coins], [biased]).item() == pytest.approx(2 * HALF_TO_QUARTER)
    here, there = Normal(torch.zeros(4, 2), torch.ones(4, 2)), Normal(torch.ones(4, 2), torch.ones(4, 2))
    assert policy_change([here], [there]).item() == pytest.approx(2 * 0.5)


def test_an_unchanged_policy_has_not_changed() -> None:
    masked = Categorical(logits=torch.tensor([[0.3, -math.inf, 2.0]]))
    for part in (masked, Bernoulli(logits=torch.tensor([[0.3, 90.0]])), Normal(torch.ones(1, 2), torch.ones(1, 2))):
        assert policy_change([part], [part]).item() == 0.0


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (Categorical(logits=torch.tensor([[200.0, 0.0]])), Categorical(logits=torch.tensor([[0.0, 200.0]])), 200.0),
        (Bernoulli(logits=torch.tensor([[200.0]])), Bernoulli(logits=torch.tensor([[-200.0]])), 200.0),
    ],
)
def test_a_saturated_policy_changes_by_a_finite_amount(old: Distribution, new: Distribution, expected: float) -> None:
    assert torch.distributions.kl_divergence(old, new).isinf().any()  # what torch makes of it
    assert policy_change([old], [new]).item() == pytest.approx(expected)


def test_kinds_without_a_divergence_are_refused() -> None:
    with pytest.raises(NotImplementedError):
        policy_change([StudentT(torch.ones(2))], [Normal(torch.zeros(2), torch.ones(2))])
