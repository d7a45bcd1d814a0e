"""Networks of ReLU layers by compiled loops, beside the modules that they are read from."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from agents.speed.perceptrons import Perceptrons
from agents.speed.relu_networks import FEW, NARROW, ReluNetwork

ROWS, WANTED = 7, 2


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


SIZES = [(4, 16, 1), (4, 32, 16, 1), (NARROW + 9, 16, 32, 48, 3), (NARROW, 16, 16, FEW), (17, 16, 2)]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_outputs_and_gradients_are_the_modules(sizes: tuple[int, ...]) -> None:
    module = network(*sizes)
    (found,) = read(module)
    x, gradient = torch.randn(ROWS, sizes[0], requires_grad=True), torch.randn(ROWS, sizes[-1])
    out, trace = found.forward(x.detach())
    torch.testing.assert_close(out, module(x))
    gradients, at_x = found.backward(trace, gradient, wanted=WANTED)
    assert all(one is other for one, other in zip(found.parameters, module.parameters(), strict=True))
    torch.testing.assert_close([*gradients, at_x], expected(module(x), gradient, x, module))
    nothing, at_x = found.backward(trace, gradient, learns=False, wanted=WANTED)
    assert nothing == []
    torch.testing.assert_close(at_x, expected(module(x), gradient, x, module)[-1])


def test_heads_lie_side_by_side_and_the_first_rows_learn() -> None:
    body, heads = network(4, 16, 16), (nn.Linear(16, 2), nn.Linear(16, 3))
    body.append(nn.ReLU())
    (found,) = read(body, heads=heads)
    x = torch.randn(ROWS + 5, 4, requires_grad=True)
    out, trace = found.forward(x.detach())
    torch.testing.assert_close(out, torch.cat([head(body(x)) for head in heads], dim=1))
    gradient = torch.randn(ROWS, 5)
    gradients, at_x = found.backward(trace, gradient)
    of_first = torch.cat([head(body(x[:ROWS])) for head in heads], dim=1)
    of_body = expected(of_first, gradient, x, body, *heads)[:-1]
    by_parameter = dict(zip([*body.parameters(), *heads[0].parameters(), *heads[1].parameters()], of_body, strict=True))
    torch.testing.assert_close(gradients, [by_parameter[parameter] for parameter in found.parameters])
    assert at_x is None


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_hidden_layers_in_bfloat16_are_near(sizes: tuple[int, ...]) -> None:
    module = network(*sizes)
    (found,) = read(module, half=True)
    x, gradient = torch.randn(64, sizes[0], requires_grad=True), torch.randn(64, sizes[-1])
    out, trace = found.forward(x.detach())
    kind = torch.bfloat16 if len(sizes) > 3 else torch.float32  # that of the products between hidden layers
    assert all(each.dtype is kind for each in trace.hidden)
    torch.testing.assert_close(out, module(x), rtol=0.03, atol=0.03)
    gradients, at_x = found.backward(trace, gradient, wanted=WANTED)
    for one, other in zip([*gradients, at_x], expected(module(x), gradient, x, module), strict=True):
        assert one.dtype is torch.float32
        assert torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.99


def test_parameters_count_as_they_are() -> None:
    module, x = network(4, 16, 16, 1), torch.randn(ROWS, 4)
    (found,) = read(module)
    for change in (
        lambda: None,
        lambda: module[2].weight.data.mul_(2),
        lambda: setattr(module[0].bias, "data", torch.randn(16)),
        lambda: setattr(module[4].weight, "data", torch.randn(1, 16)),
    ):
        change()
        torch.testing.assert_close(found.forward(x)[0], module(x))


def test_what_is_no_number_stays_so() -> None:
    for half in (False, True):
        for place in (0, 2, 4):
            module = network(4, 16, 16, 1)
            module[place].weight.data[0, 0] = torch.nan
            (found,) = read(module, half=half)
            out, trace = found.forward(torch.ones(ROWS, 4))
            assert out.isnan().all()
            gradients, _ = found.backward(trace, torch.ones(ROWS, 1))
            assert any(gradient.isnan().any() for gradient in gradients)


@pytest.mark.parametrize(
    "module",
    [
        network(4, 1),
        network(4, 12, 1),
        network(4, 16, FEW + 1),
        network(4, 16, 1, bias=False),
        nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1)),
        nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1), nn.Tanh()),
        network(4, 16, 1).double(),
    ],
)
def test_other_networks_are_not_computed_here(module: nn.Sequential) -> None:
    assert read(module) is None
