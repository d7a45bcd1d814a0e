"""What tests of surgery choose, seed and compare."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from agents.plasticity.units import UnitLayer


def seeded(layer: UnitLayer) -> torch.Generator:
    return torch.Generator().manual_seed(sum(map(ord, layer.name)))


def every(layer: UnitLayer, nth: int) -> Tensor:
    """Amounts: every `nth` unit is wholly replaced."""
    return (torch.arange(layer.units) % nth == 0).float()


def nobody(layers: list[UnitLayer]) -> dict[str, Tensor]:
    return {layer.name: torch.zeros(layer.units) for layer in layers}


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    assert not [name for name in left if not torch.equal(left[name], right[name])]


def stepped(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:
    for _ in range(3):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    return copy.deepcopy(optimizer.state_dict()["state"])
