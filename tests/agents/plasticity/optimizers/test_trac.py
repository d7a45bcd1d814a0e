"""TRAC: scales worked out by hand, and what becomes of them where weights are changed from outside."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import special
from torch import nn

from agents.plasticity import TRAC
from agents.plasticity.optimizers.trac import ERFI_AT_START, erfi

SIGNS = {"lr": 0.1, "betas": (0.0, 0.0), "eps": 0.0}  # with which Adam's step is lr times the gradient's sign


def number(value: float, **settings: object) -> tuple[nn.Parameter, TRAC]:
    weight = nn.Parameter(torch.tensor([value], dtype=torch.float64))
    return weight, TRAC([weight], **{**SIGNS, **settings})  # type: ignore[arg-type]


def step(weight: nn.Parameter, optimizer: TRAC, gradient: float) -> None:
    weight.grad = torch.full_like(weight, gradient)
    optimizer.step()


def test_the_imaginary_error_function() -> None:
    assert erfi(torch.tensor(1.0, dtype=torch.float64)).item() == pytest.approx(1.6504257587975429, rel=1e-14)
    assert pytest.approx(special.erfi(1 / math.sqrt(2)), rel=1e-15) == ERFI_AT_START
    x = torch.linspace(-6, 6, 241, dtype=torch.float64)
    assert erfi(x).numpy() == pytest.approx(special.erfi(x.numpy()), rel=1e-14)
    assert erfi(torch.tensor([-60.0, 1e-12])).tolist() == pytest.approx([-special.erfi(6), 2e-12 / math.sqrt(math.pi)])


def test_the_first_steps_are_as_worked_out_by_hand() -> None:
    """At the second step h = -0.1, so that v = 0.01, sigma = 0.1 and every tuner's s is 1e-8."""
    weight, optimizer = number(0.0)
    discounts = [1 - 10.0**-n for n in range(1, 7)]
    step(weight, optimizer, 1.0)  # h = v = 0, sigma = discount * 1e-8
    scale = sum(1e-8 * special.erfi(discount) / special.erfi(1 / math.sqrt(2)) for discount in discounts)
    assert weight.item() == pytest.approx(-0.1 * scale, rel=1e-9)
    step(weight, optimizer, 1.0)
    v, sigma, s = optimizer.state[weight]["tuners"]
    assert v.tolist() == pytest.approx([0.01] * 6)
    assert sigma.tolist() == pytest.approx([0.1] * 6, rel=1e-6)
    assert s.tolist() == pytest.approx([1e-8] * 6, rel=1e-5)
    assert weight.item() == pytest.approx(-0.2 * 6e-8, rel=1e-5)


def test_many_steps_are_those_of_the_paper() -> None:
    """A gradient of 1 for 30 steps, then of -1: the scale grows, and shrinks again."""
    weight, optimizer = number(0.5)
    base = 0.0
    v, sigma = [0.0] * 6, [1e-8] * 6
    seen = []
    for number_of_step in range(60):
        gradient = 1.0 if number_of_step < 30 else -1.0
        h = base * gradient
        base -= 0.1 * gradient
        scale = 0.0
        for j in range(6):
            b = 1 - 10.0 ** -(j + 1)
            v[j], sigma[j] = b**2 * v[j] + h**2, b * sigma[j] - h
            x = sigma[j] / (math.sqrt(2 * v[j]) + 1e-8)
            scale += 1e-8 * special.erfi(x) / special.erfi(1 / math.sqrt(2))
        step(weight, optimizer, gradient)
        assert weight.item() == pytest.approx(0.5 + max(scale, 0.0) * base, rel=1e-12)
        seen.append(scale)
    assert max(seen) > 1e-6
    assert seen[-1] < 0  # where it counts as 0: the weight is back at the reference
    assert weight.item() == pytest.approx(0.5, abs=1e-15)


def test_a_gradient_of_zero_leaves_the_weights_alone() -> None:
    weight, optimizer = number(0.5, eps=1e-8)
    step(weight, optimizer, 0.0)
    assert weight.item() == 0.5


def test_what_is_changed_from_outside_stays_changed_and_moves_the_reference() -> None:
    (weight, optimizer), (other, others) = number(0.0), number(0.0)
    for count in range(20):
        step(weight, optimizer, 1.0)
        step(other, others, 1.0)
        if count == 9:
            other.data += 1.0
    assert optimizer.state[weight]["tuners"].equal(others.state[other]["tuners"])
    assert other.item() - 1 == pytest.approx(weight.item(), abs=1e-15)


def test_where_a_tensor_is_redrawn_as_a_whole_its_scale_begins_anew_and_no_other() -> None:
    weights = [nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in range(2)]
    optimizer = TRAC(weights, **SIGNS)  # type: ignore[arg-type]

    def go_on() -> None:
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        optimizer.step()

    for _ in range(20):
        go_on()
    optimizer.state.pop(weights[1])  # as FullReset does
    weights[1].data.fill_(7.0)
    go_on()
    old, new = (optimizer.state[weight]["tuners"][2].sum().item() for weight in weights)
    assert new < 1e-5 < old
    assert weights[1].item() == pytest.approx(7.0 - 0.1 * new)
