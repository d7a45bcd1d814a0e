"""What a fit probe asks for, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from agents.plasticity.diagnostics.fit.objectives import columns, fit_error, regret, unseen
from agents.plasticity.outputs import Form


def test_unseen_outputs_have_mean_0_and_variance_1_or_are_0() -> None:
    found = unseen(torch.tensor([[1.0, 5.0], [3.0, 5.0], [2.0, 5.0]]))
    assert found[:, 0].tolist() == pytest.approx([-math.sqrt(1.5), math.sqrt(1.5), 0.0])
    assert found[:, 1].tolist() == [0.0, 0.0, 0.0]


def test_outputs_that_differ_by_rounding_are_0() -> None:
    """Of observations that are all alike a mean is rounded, and matrix products are, by row."""
    last = torch.finfo(torch.float32).eps
    found = unseen(torch.tensor([[0.7, 0.7], [0.7, 0.7 + 4 * last], [0.7, 0.7 + 100 * last]]))
    assert found[:, 0].tolist() == [0.0] * 3
    assert found[:, 1].square().mean().item() == pytest.approx(1.0)


def test_the_error_of_a_change_is_not_lost_beside_large_outputs() -> None:
    begun, new = torch.full((2, 1), 1e18), torch.tensor([[1.0], [-3.0]])
    assert fit_error(begun, begun, new).item() == 5.0
    assert fit_error(torch.tensor([[3.0], [0.0]]), torch.tensor([[2.0], [1.0]]), new).item() == 2.0


def test_log_standard_deviations_are_left_out() -> None:
    outputs = torch.arange(8.0).view(2, 4)
    assert columns(Form("gaussian", (2,)), outputs).tolist() == [[0.0, 1.0], [4.0, 5.0]]
    assert columns(Form(), outputs) is outputs


def test_the_regret_of_policies() -> None:
    pay = torch.tensor([[2.0, 0.0]])
    even = torch.zeros(1, 2, requires_grad=True)
    assert regret(Form("logits", (2,)), even, pay).item() == 1.0  # the better one pays 2, and half is earned
    # Of bits and of actions behind a tanh 0 earns nothing, where |pay| could be had.
    assert regret(Form("bits", (2,)), even, torch.tensor([[2.0, -1.0]])).item() == 3.0
    action = torch.tensor([[math.atanh(0.5)]])
    assert regret(Form("actions", (1,)), action, torch.tensor([[-1.0]])).item() == pytest.approx(1.5)
    assert regret(Form("gaussian", (1,)), action, torch.tensor([[2.0]])).item() == pytest.approx(1.0)


def test_its_slope_is_the_policy_gradient_and_vanishes_where_a_policy_is_saturated() -> None:
    form, pay = Form("logits", (2,)), torch.tensor([[2.0, 0.0]])
    logits = torch.tensor([[0.0, math.log(3.0)]], requires_grad=True)  # probabilities 1/4 and 3/4, 1/2 is earned
    (slope,) = torch.autograd.grad(regret(form, logits, pay), logits)
    assert slope[0].tolist() == pytest.approx([0.25 * (0.5 - 2.0), 0.75 * (0.5 - 0.0)])
    sure = torch.tensor([[0.0, 120.0]], requires_grad=True)
    assert torch.autograd.grad(regret(form, sure, pay), sure)[0].tolist() == [[0.0, 0.0]]


def test_parts_are_added() -> None:
    form, outputs = Form("logits", (2, 3)), torch.zeros(1, 5)
    assert regret(form, outputs, torch.tensor([[2.0, 0.0, 3.0, 0.0, 0.0]])).item() == pytest.approx(1.0 + 2.0)
