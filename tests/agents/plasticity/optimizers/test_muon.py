"""Muon: what goes to torch's Muon, and what to AdamW."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from agents.plasticity.optimizers import Muon


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))


def trained(parameters: list[Tensor], *optimizers: torch.optim.Optimizer, steps: int = 3) -> list[Tensor]:
    """The parameters after some steps from random gradients."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for optimizer in optimizers:
            optimizer.step()
    return [parameter.detach().clone() for parameter in parameters]


def test_hidden_weights_are_trained_by_torchs_muon_and_all_else_by_adamw() -> None:
    parameters, stock = list(model().parameters()), list(model().parameters())
    optimizer = Muon(parameters, lr=0.02, weight_decay=0.05, momentum=0.9)
    optimizer.choose({parameters[0], *parameters[2:4]})  # a convolution is none of Muon's; the last layer is left out
    assert optimizer.param_groups[0]["hidden"] == [2]
    others = [parameter for i, parameter in enumerate(stock) if i != 2]
    settings = {"lr": 0.02, "weight_decay": 0.05}
    found = trained(parameters, optimizer)
    muon = torch.optim.Muon([stock[2]], **settings, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    expected = trained(stock, muon, torch.optim.AdamW(others, **settings))
    assert all(map(torch.equal, found, expected))
    assert {*optimizer.state} == {*parameters}


def test_nobody_has_chosen() -> None:
    assert Muon(model().parameters()).param_groups[0]["hidden"] == [2, 4]


def test_a_learning_rate_that_changes_is_followed() -> None:
    parameters = list(model().parameters())
    optimizer = Muon(parameters, lr=1.0)
    optimizer.param_groups[0]["lr"] = 0.0
    before = [parameter.detach().clone() for parameter in parameters]
    assert all(map(torch.equal, trained(parameters, optimizer), before))


def test_a_copy_and_a_loaded_state_go_on_alike() -> None:
    first = list(model().parameters())
    optimizer = Muon(first)
    optimizer.choose({first[2]})
    trained(first, optimizer)
    parameters, twin = copy.deepcopy((first, optimizer))
    third = copy.deepcopy(first)
    loaded = Muon(third)
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert loaded.param_groups[0]["hidden"] == twin.param_groups[0]["hidden"] == [2]
    expected = trained(first, optimizer)
    assert all(map(torch.equal, trained(parameters, twin), expected))
    assert all(map(torch.equal, trained(third, loaded), expected))


def test_a_torch_without_muon_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(ValueError, match=r"^the optimizer muon is torch.optim.Muon, which torch has since 2.9, and th"):
        Muon(model().parameters())
