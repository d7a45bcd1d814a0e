"""`agents.plasticity.optimizers.stepping`: the same bits as torch's own, whatever is asked for."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from agents.plasticity.optimizers import stepping

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "large epsilon": {"eps": 1e-3},
    "no epsilon to speak of": {"eps": 1e-30},
    "weight decay": {"weight_decay": 0.1},
    "amsgrad": {"amsgrad": True},
    "maximised": {"maximize": True},
    "other decay rates": {"betas": (0.5, 0.9)},
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    shared = nn.Linear(8, 8)
    return nn.Sequential(nn.Linear(70, 8), nn.ReLU(), shared, nn.Sequential(shared, nn.BatchNorm1d(8)), nn.Linear(8, 3))


def gradients(model: nn.Module, generator: torch.Generator, scale: float) -> None:
    """Of any size, as of a network some of whose units are dead: zeros, and moments that are no normal numbers."""
    for parameter in model.parameters():
        drawn = torch.randn(parameter.shape, generator=generator) * scale
        parameter.grad = drawn * (torch.rand(parameter.shape, generator=generator) < 0.5)
    model[4].bias.grad = None


def trained(ours: bool, scales: tuple[float, ...], **settings: Any) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = network()
    head = [*model[4].parameters()]
    others = [parameter for parameter in model.parameters() if all(parameter is not own for own in head)]
    optimizer = torch.optim.Adam([{"params": others}, {"params": head, "lr": 0.1}], **settings)
    generator = torch.Generator().manual_seed(1)
    for scale in scales:
        stepping.drop_gradients(optimizer) if ours else optimizer.zero_grad()
        assert all(parameter.grad is None for parameter in model.parameters())
        gradients(model, generator, scale)
        if ours:
            stepping.clip_gradients(model.parameters(), 0.5)
            stepping.step(optimizer)
        else:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
    return model, optimizer


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_step_is_torchs(settings: str) -> None:
    scales = (1.0, 1e-3, 1e-20, 1e-22, 1e-3, 0.0, 100.0, 1e-20)
    (mine, my_optimizer), (stock, optimizer) = (trained(ours, scales, **SETTINGS[settings]) for ours in (True, False))
    for own, other in zip(mine.parameters(), stock.parameters(), strict=True):
        assert torch.equal(own, other)
    mine_state, stock_state = my_optimizer.state_dict(), optimizer.state_dict()
    assert mine_state["param_groups"] == stock_state["param_groups"]
    assert mine_state["state"].keys() == stock_state["state"].keys()
    for key, held in stock_state["state"].items():
        assert all(torch.equal(mine_state["state"][key][name], value) for name, value in held.items())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_clipped_as_torch_does(bad: float) -> None:
    mine, stock = network(), network()
    for model in (mine, stock):
        gradients(model, torch.Generator().manual_seed(0), 1.0)
        model[0].weight.grad[0, 0] = bad
    stepping.clip_gradients(mine.parameters(), 0.5)
    nn.utils.clip_grad_norm_(stock.parameters(), 0.5)
    for own, other in zip(mine.parameters(), stock.parameters(), strict=True):
        if other.grad is not None:
            torch.testing.assert_close(own.grad, other.grad, rtol=0, atol=0, equal_nan=True)


def test_who_watches_an_optimizer_is_told_of_its_steps() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    seen: list[Any] = []
    optimizer.register_step_post_hook(lambda *given: seen.append(given))
    for _ in range(3):
        gradients(model, torch.Generator().manual_seed(0), 1.0)
        stepping.step(optimizer)
    assert len(seen) == 3


def test_another_optimizer_steps_by_itself() -> None:
    class Mine(torch.optim.Adam):
        """Nobody knows what it does."""

        def zero_grad(self, set_to_none: bool = True) -> None:
            """Keep zeros."""
            super().zero_grad(set_to_none=False)

    for kind in (Mine, torch.optim.SGD):
        model, stock = network(), network()
        optimizers = [kind(each.parameters(), lr=0.1) for each in (model, stock)]
        for each in (model, stock):
            gradients(each, torch.Generator().manual_seed(0), 1.0)
        stepping.step(optimizers[0]), optimizers[1].step()
        assert all(map(torch.equal, model.parameters(), stock.parameters()))
        stepping.drop_gradients(optimizers[0])
        assert (model[0].weight.grad is None) == (kind is torch.optim.SGD)


def test_moments_in_double_precision_are_left_to_torch() -> None:
    model, stock = network().double(), network().double()
    optimizers = [torch.optim.Adam(each.parameters()) for each in (model, stock)]
    for _ in range(2):
        for each in (model, stock):
            for parameter in each.parameters():
                parameter.grad = torch.full_like(parameter, 1e-25)
        stepping.step(optimizers[0]), optimizers[1].step()
    assert all(map(torch.equal, model.parameters(), stock.parameters()))
    assert copy.deepcopy(optimizers[0]).state_dict()["state"].keys() == optimizers[1].state_dict()["state"].keys()


@pytest.mark.parametrize("filled", [True, False])
def test_gradients_that_fill_one_block_are_clipped_as_one(filled: bool) -> None:
    sizes = [12, 5, 4]
    block = torch.arange(float(sum(sizes) + (not filled)))
    before = block.clone()
    parameters = [nn.Parameter(torch.zeros(size)) for size in sizes]
    for parameter, gradient in zip(parameters, block[: sum(sizes)].split(sizes), strict=True):
        parameter.grad = gradient
    stepping.clip_gradients(parameters, 0.5, exactly=False)
    torch.testing.assert_close(block[: sum(sizes)], before[: sum(sizes)] * (0.5 / before[: sum(sizes)].norm()))
    assert filled or block[-1] == before[-1]
