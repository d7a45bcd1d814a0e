"""Steps on copies: numbers worked out by hand, and optimizers that are like others but know nothing of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from agents.plasticity import TRAC, UPGD, AdamO, Muon
from agents.plasticity.diagnostics.fit.steps import error_removed, removed, twins

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.1, eps=1e-5),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.1),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.1),
    "trac": TRAC,
    "upgd": UPGD,
    "adamo": lambda parameters: AdamO(parameters, coefficient=0.1),
    "muon": Muon,
}


def test_a_line_is_fitted_as_worked_out_by_hand() -> None:
    """(w - 2)^2 from w = 1: gradients -2 and -1, so that w is 1.5 and 1.75, and 1/16 of the error is left."""
    w, x = torch.ones(1, 1, requires_grad=True), torch.tensor([[1.0], [-1.0]])
    share = error_removed(lambda: (x @ w - 2 * x).square().mean(), [w], [torch.optim.SGD([w], lr=0.25)], steps=2)
    assert share.item() == 15 / 16
    assert w.item() == 1.75


@pytest.mark.parametrize(
    ("first", "last", "share"),
    [
        (2.0, 0.5, 0.75),
        (2.0, 3.0, 0.0),
        (2.0, math.nan, 0.0),
        (2.0, math.inf, 0.0),
        (0.0, 0.0, math.nan),
        (-1e-8, 0.0, math.nan),
        (math.nan, math.nan, 0.0),
        (math.inf, 1.0, 0.0),
    ],
)
def test_what_is_not_removed_is_nothing(first: float, last: float, share: float) -> None:
    assert removed(torch.tensor(first), torch.tensor(last)).item() == pytest.approx(share, nan_ok=True)


def test_what_depends_on_no_parameter_is_not_removed() -> None:
    w = torch.ones(2, requires_grad=True)
    assert error_removed(lambda: torch.ones(()), [w], [], steps=3).item() == 0.0


def trained(module: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> list[Tensor]:
    x = torch.linspace(-1, 1, 20).view(5, 4)
    for _ in range(steps):
        optimizer.zero_grad()
        module(x).square().mean().backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in module.parameters()]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_twin_steps_as_a_new_optimizer_does(kind: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    optimizer = OPTIMIZERS[kind](module.parameters())
    expected = trained(copy_of := copy.deepcopy(module), OPTIMIZERS[kind](copy_of.parameters()))
    trained(module, optimizer)  # now it remembers something
    held, state = copy.deepcopy(module.state_dict()), copy.deepcopy(optimizer.state_dict())

    torch.manual_seed(0)
    other = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    (twin,) = twins([optimizer], dict(zip(module.parameters(), other.parameters(), strict=True)))
    if kind == "upgd":  # goes on with its noise where the other one stood
        assert twin.param_groups[0]["draws"] == optimizer.param_groups[0]["draws"]
        twin.param_groups[0]["draws"] = 0
    assert type(twin) is type(optimizer)
    assert all(torch.equal(*pair) for pair in zip(trained(other, twin), expected, strict=True))
    assert all(torch.equal(held[name], tensor) for name, tensor in module.state_dict().items())
    assert repr(optimizer.state_dict()) == repr(state)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_twin_of_a_part_leaves_all_else(kind: str) -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    model = nn.Sequential(first, nn.ReLU(), second)
    optimizer = OPTIMIZERS[kind](model.parameters())
    leaf = second.weight.detach().clone().requires_grad_()
    (twin,) = twins([optimizer, torch.optim.SGD(first.parameters(), lr=1.0)], {second.weight: leaf})
    before = copy.deepcopy(model.state_dict())
    leaf.grad = torch.ones_like(leaf)
    twin.step()
    assert kind == "trac" or not torch.equal(leaf, second.weight)  # whose first steps are too small to be seen
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert [len(group["params"]) for group in twin.param_groups] == [4]
