"""Networks of ReLU layers by compiled loops, beside the modules that they are read from."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from numba.core import config
from torch import nn

from agents.speed.boards import kernels
from agents.speed.perceptrons import Perceptrons
from agents.speed.relu_networks import FEW, NARROW, ReluNetwork

ROWS, WANTED = 7, 2


@pytest.fixture(autouse=True)
def any_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels(), "has_registers", lambda: True)


def network(*sizes: int, **settings: bool) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(*pair, **settings) for pair in pairwise(sizes)]
    return nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])


def read(*networks: nn.Module, heads: tuple[nn.Module, ...] = (), half: bool = False) -> list[ReluNetwork] | None:
    return ReluNetwork.of(Perceptrons(networks, heads, pays=lambda _count, _weight: half), ROWS)  # type: ignore[arg-type]


def expected(out: torch.Tensor, gradient: torch.Tensor, x: torch.Tensor, *modules: nn.Module) -> list[torch.Tensor]:
    parameters = [parameter for module in modules for parameter in module.parameters()]
    *found, at_x = torch.autograd.grad(out, [*parameters, x], gradient)
    return [*found, at_x[:, -WANTED:]]


SIZES = [(4, 64, 32, 1), (NARROW + 9, 32, 96, 3), (NARROW, 32, 32, FEW)]
DEEP = (4, 32, 64, 96, 3)


@pytest.mark.parametrize("sizes", [*SIZES, DEEP, (NARROW + 1, 64, 2)], ids=str)
def test_outputs_and_gradients_are_the_modules(sizes: tuple[int, ...]) -> None:
    module = network(*sizes)
    (found,) = read(module)
    x, gradient = torch.randn(ROWS, sizes[0], requires_grad=True), torch.randn(ROWS, sizes[-1])
    out, trace = found.forward(x.detach())
    torch.testing.assert_close(out, module(x))
    assert all(one is other for one, other in zip(found.parameters, module.parameters(), strict=True))
    computed = [*found.gradients(trace, gradient), found.input_gradient(trace, gradient, WANTED)]
    torch.testing.assert_close(computed, expected(module(x), gradient, x, module))


@pytest.mark.parametrize("rows", [[], [3], [0, 1, 2, 4, 5, 6, 7, 9, 17, 19]])
def test_rows_without_a_gradient_are_left_out(rows: list[int]) -> None:
    module = network(4, 32, 64, 1)
    (found,) = read(module)
    x, gradient = torch.randn(20, 4, requires_grad=True), torch.zeros(20, 1)
    gradient[rows] = torch.randn(len(rows), 1)
    _, trace = found.forward(x.detach())
    at_x = found.input_gradient(trace, gradient, WANTED)
    torch.testing.assert_close(at_x, expected(module(x), gradient, x, module)[-1])


def test_heads_lie_side_by_side_and_the_first_rows_learn() -> None:
    body, heads = network(4, 32, 32), (nn.Linear(32, 2), nn.Linear(32, 3))
    body.append(nn.ReLU())
    (found,) = read(body, heads=heads)
    x = torch.randn(ROWS + 5, 4, requires_grad=True)
    out, trace = found.forward(x.detach())
    torch.testing.assert_close(out, torch.cat([head(body(x)) for head in heads], dim=1))
    gradient = torch.randn(ROWS, 5)
    gradients = found.gradients(trace, gradient)
    of_first = torch.cat([head(body(x[:ROWS])) for head in heads], dim=1)
    of_body = expected(of_first, gradient, x, body, *heads)[:-1]
    by_parameter = dict(zip([*body.parameters(), *heads[0].parameters(), *heads[1].parameters()], of_body, strict=True))
    torch.testing.assert_close(gradients, [by_parameter[parameter] for parameter in found.parameters])


@pytest.mark.skipif(kernels() is None or not kernels().has_pairs(), reason="no AVX512_BF16")
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_hidden_layers_in_bfloat16_are_near(sizes: tuple[int, ...]) -> None:
    module = network(*sizes)
    (found,) = read(module, half=True)
    x, gradient = torch.randn(64, sizes[0], requires_grad=True), torch.randn(64, sizes[-1])
    out, trace = found.forward(x.detach())
    assert all(each.dtype == np.int16 for each in trace.hidden)
    torch.testing.assert_close(out, module(x), rtol=0.03, atol=0.03)
    computed = [*found.gradients(trace, gradient), found.input_gradient(trace, gradient, WANTED)]
    for one, other in zip(computed, expected(module(x), gradient, x, module), strict=True):
        assert one.dtype is torch.float32
        assert torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.99


def test_parameters_count_as_they_are() -> None:
    module, x = network(4, 32, 32, 1), torch.randn(ROWS, 4)
    (found,) = read(module)
    for change in (
        lambda: None,
        lambda: module[2].weight.data.mul_(2),
        lambda: setattr(module[0].bias, "data", torch.randn(32)),
        lambda: setattr(module[4].weight, "data", torch.randn(1, 32)),
        lambda: setattr(module[2].weight, "data", torch.randn(32, 32).t()),
        lambda: module[2].weight.data.mul_(2),
    ):
        change()
        torch.testing.assert_close(found.forward(x)[0], module(x))
    x = torch.randn(4, ROWS).t()
    torch.testing.assert_close(found.forward(x)[0], module(x))


def test_what_is_no_number_stays_so() -> None:
    for half in {False, kernels().has_pairs()}:
        for place in (0, 2, 4):
            module = network(4, 32, 32, 1)
            module[place].weight.data[0, 0] = torch.nan
            (found,) = read(module, half=half)
            out, trace = found.forward(torch.ones(ROWS, 4))
            assert out.isnan().all()
            assert any(gradient.isnan().any() for gradient in found.gradients(trace, torch.ones(ROWS, 1)))


@pytest.mark.parametrize(
    "module",
    [
        network(4, 1),
        network(4, 48, 1),
        network(4, 32, FEW + 1),
        network(4, 32, 1, bias=False),
        nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1)),
        nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1), nn.Tanh()),
        network(4, 32, 1).double(),
    ],
)
def test_other_networks_are_not_computed_here(module: nn.Sequential) -> None:
    assert read(module) is None


def test_torchs_products_are_taken_where_registers_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(network(4, 32, 32, 1)) is not None
    monkeypatch.setattr(kernels(), "has_registers", lambda: False)
    assert read(network(4, 32, 32, 1)) is None
    monkeypatch.undo()
    monkeypatch.setattr(kernels(), "has_pairs", lambda: False)
    assert read(network(4, 32, 32, 1), half=True) is None


def test_what_numba_is_told_to_leave_out_is_not_taken_for_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """`NUMBA_ENABLE_AVX=0`: LLVM would end the process."""
    monkeypatch.undo()  # `any_cpu`
    monkeypatch.setattr(config, "ENABLE_AVX", False)
    assert not kernels().has_registers()
    assert not kernels().has_pairs()
