"""Networks asked about few rows give what their modules do."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from agents.speed import few_rows, kernels
from agents.speed.boards import Boards
from agents.speed.perceptrons import Perceptrons


def network(*widths: int, activation: Callable[[], nn.Module] = nn.Tanh, bias: bool = True) -> nn.Sequential:
    modules: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        modules += [nn.Linear(inputs, outputs, bias), activation()]
    return nn.Sequential(*modules[:-1])


def called(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    follow = kernels.follow
    monkeypatch.setattr(kernels, "follow", lambda *given: calls.append(0) or follow(*given))
    return calls


@pytest.mark.parametrize("boards", [False, True])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
@pytest.mark.parametrize("widths", [(100, 16, 3), (100, 32, 20, 1), (100, 16, 16, 7, 6)])
def test_outputs_are_the_modules(
    widths: tuple[int, ...], activation: type[nn.Module], boards: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, calls = network(*widths, activation=activation), called(monkeypatch)
    generator = torch.Generator().manual_seed(0)
    bits = torch.rand(9, 100, generator=generator) < 0.04
    x = bits.as_subclass(Boards) if boards else torch.randn(9, 100, generator=generator)
    found = few_rows.outputs(Perceptrons([net], pays=lambda *_: False), x)
    assert calls
    assert not found.requires_grad
    torch.testing.assert_close(found, net(bits.to(torch.float32) if boards else x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "net",
    [
        network(5, 16, 2, activation=nn.ELU), network(5, 16, 2, bias=False), network(5, 12, 2), network(5, 16),
        network(5, 16, 2).double(), nn.Sequential(*network(5, 16, 2), nn.Tanh()),
        nn.Sequential(*network(5, 16), nn.Tanh(), *network(16, 8), nn.ReLU(), nn.Linear(8, 2)),
    ],
)  # fmt: skip
def test_others_are_asked_as_ever(net: nn.Sequential, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, x = called(monkeypatch), torch.randn(3, 5)
    expected = net(x.to(net[0].weight.dtype))
    torch.testing.assert_close(few_rows.outputs(Perceptrons([net], pays=lambda *_: False), x), expected)
    assert not calls


def test_so_are_those_with_many_products(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, net = called(monkeypatch), network(5, 16, 2)
    monkeypatch.setattr(few_rows, "MOST", 3 * 32 - 1)
    few_rows.outputs(Perceptrons([net], pays=lambda *_: False), torch.randn(3, 5))
    assert not calls


def test_hyperbolic_tangents() -> None:
    x = np.concatenate([np.linspace(-12, 12, 16_000), np.float32([np.nan, np.inf, -np.inf, 0.0] * 4)])
    given, found = x.astype(np.float32), np.empty(len(x), np.float32)
    kernels.hyperbolic_tangent(given, found)
    expected = np.tanh(given.astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-7)
    kernels.hyperbolic_tangent(given, given)
    np.testing.assert_array_equal(given, found)
