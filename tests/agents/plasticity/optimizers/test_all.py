"""What holds for every optimizer of ours."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from agents.plasticity import GXD, TRAC, UPGD, AdamO, Muon, PlasticOptimizer
from agents.plasticity.moments import remembered

KINDS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "trac": TRAC,
    "upgd": UPGD,
    "adamo": lambda parameters: AdamO(parameters, coefficient=0.1),
    "muon": Muon,
}
X, Y = torch.randn(2, 16, 4, generator=torch.Generator().manual_seed(5)).unbind()


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4), nn.LayerNorm(4))


def train(module: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> dict[str, torch.Tensor]:
    for _ in range(steps):
        optimizer.zero_grad()
        (module(X) - Y).square().mean().backward()
        optimizer.step()
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_goes_on_to_the_bit(kind: str) -> None:
    module = model()
    optimizer = KINDS[kind](module.parameters())
    train(module, optimizer)
    saved, other = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(module)
    expected = train(module, optimizer)
    again = KINDS[kind](other.parameters())
    again.load_state_dict(saved)
    found = train(other, again)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert not torch.equal(expected["0.weight"], model().state_dict()["0.weight"])


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_without_a_gradient_are_passed_over(kind: str) -> None:
    module = model()
    optimizer = KINDS[kind](module.parameters())
    optimizer.step()
    assert not optimizer.state
    module[0].requires_grad_(requires_grad=False)
    before = copy.deepcopy(module[0].state_dict())
    train(module, optimizer)
    assert {*optimizer.state} == {*module[2].parameters(), *module[3].parameters()}
    assert all(torch.equal(before[name], tensor) for name, tensor in module[0].state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_will_remember_is_told_beforehand(kind: str) -> None:
    module = model()
    optimizer = KINDS[kind](module.parameters())
    told = remembered(optimizer)
    assert not optimizer.state
    assert module[0].weight.grad is None
    train(module, optimizer, steps=1)
    held = optimizer.state_dict()["state"]
    assert {n: [*slots] for n, slots in told.items()} == {n: [*slots] for n, slots in held.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_closure_and_units_that_are_reset(kind: str) -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))
    reset = GXD(rate=0.05, period=2, maturity=2, score_every=1)
    optimizer = PlasticOptimizer(KINDS[kind](module.parameters()), module, [reset])

    def closure() -> Any:
        optimizer.zero_grad()
        with optimizer.forward():
            loss = (module(X) - Y).square().mean()
        loss.backward()
        return loss

    losses = [optimizer.step(closure) for _ in range(6)]
    assert all(loss.isfinite() for loss in losses)
    assert optimizer.units_reset()["net"] > 0
