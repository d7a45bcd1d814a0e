"""What taps see of a forward and a backward."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agents.plasticity.taps import Taps, untapped
from agents.plasticity.units import UnitLayer, sequential


def network() -> tuple[nn.Sequential, tuple[UnitLayer, ...]]:
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    return module, sequential(module).layers


def test_activation_and_its_gradient() -> None:
    module, layers = network()
    x = torch.randn(5, 2)
    with Taps(layers) as taps:
        loss = module(x).sum()
    loss.backward()
    a, g = taps.read()["net.0"]
    torch.testing.assert_close(a, module[:2](x).detach())
    torch.testing.assert_close(g, module[2].weight.detach().expand(5, 3))
    assert not a.requires_grad


def test_the_gradient_is_complete_over_all_consumers() -> None:
    module, layers = network()
    other = nn.Linear(3, 1)
    with Taps(layers) as taps:
        hidden = module[:2](torch.randn(5, 2))
        loss = module[2](hidden).sum() + other(hidden).sum()
    loss.backward()
    torch.testing.assert_close(taps.read()["net.0"][1], (module[2].weight + other.weight).detach().expand(5, 3))


def test_what_consumers_see_is_tapped() -> None:
    """Behind pooling and a normalisation, with the shape that a convolution has."""
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4), nn.Tanh(), nn.LayerNorm(4),
        nn.Linear(4, 1),
    )  # fmt: skip
    x = torch.randn(5, 1, 6, 6)
    with Taps(sequential(module).layers) as taps:
        loss = module(x).sum()
    torch.testing.assert_close(taps.activations["net.0"], module[:3](x).detach())
    assert taps.activations["net.0"].shape == (5, 3, 2, 2)
    torch.testing.assert_close(taps.activations["net.1"], module[:7](x).detach())
    loss.backward()
    g = taps.read()["net.1"][1]
    torch.testing.assert_close(g, module[7].weight.detach().expand(5, 4))


def test_the_first_backward_counts() -> None:
    module, layers = network()
    with Taps(layers) as taps:
        output = module(torch.randn(5, 2)).sum()
    output.backward(retain_graph=True)
    first = taps.read()["net.0"][1].clone()
    (7 * output).backward()
    assert torch.equal(taps.read()["net.0"][1], first)


def test_outputs_are_part_of_the_graph_and_activations_are_not() -> None:
    module, layers = network()
    with Taps(layers) as taps:
        loss = module(torch.randn(5, 2)).sum()
    (gradient,) = torch.autograd.grad(loss, taps.roots("net.0"))
    torch.testing.assert_close(gradient, module[2].weight.detach().expand(5, 3))
    assert not taps.activations["net.0"].requires_grad


def test_closed_taps_leave_no_hooks_and_see_no_other_forward() -> None:
    module, layers = network()
    with Taps(layers) as taps, torch.no_grad():
        module(torch.ones(1, 2))
    seen = taps.activations["net.0"].clone()
    module(torch.zeros(4, 2))
    assert torch.equal(taps.activations["net.0"], seen)
    assert not any(part._forward_hooks for part in module.modules())
    assert taps.read() == {}  # there was no backward


def test_a_layer_that_no_gradient_reaches_is_not_read() -> None:
    module, layers = network()
    with Taps(layers) as taps:
        module(torch.ones(1, 2))
        loss = module[2](torch.ones(1, 3)).sum()
    loss.backward()
    assert taps.read() == {}
    assert taps.activations.keys() == {"net.0"}


def test_a_module_that_runs_twice_is_refused() -> None:
    module, layers = network()
    with Taps(layers), pytest.raises(RuntimeError, match=r"net\.0: the module ReLU\(\) ran twice"):
        module(torch.ones(1, 2)), module(torch.ones(1, 2))
    assert not any(part._forward_hooks for part in module.modules())


def test_no_layers_no_hooks() -> None:
    module, _ = network()
    with Taps(()) as taps:
        assert not any(part._forward_hooks for part in module.modules())
        module(torch.ones(1, 2)).sum().backward()
    assert taps.read() == taps.activations == {}


def test_a_second_forward_is_refused_with_what_to_do() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    x = torch.ones(1, 2)
    with Taps(sequential(model).layers), pytest.raises(RuntimeError, match=r"inside `with untapped\(\)"):
        model(x) - model(x).detach()


def test_what_runs_untapped_is_not_recorded_but_differentiated() -> None:
    """Before, behind and between, nested, and after an error; gradients go through it as ever."""
    module, layers = network()
    ones, others = torch.ones(5, 2), torch.full((5, 2), -2.0)
    with Taps(layers) as taps:
        with untapped():
            first = module(others).sum()
            with untapped():
                first = first + module(others).sum()
            module(others)  # still untapped
        second = module(ones).sum()
        with pytest.raises(KeyError), untapped():
            raise KeyError
        with untapped():
            third = module(others).sum()
        with pytest.raises(RuntimeError, match="ran twice"):  # listening again
            module(ones)
    assert torch.equal(taps.activations["net.0"], module[:2](ones).detach())
    (first + second + third).backward()
    gradient = module[0].weight.grad.clone()
    module.zero_grad()
    (3 * module(others).sum() + module(ones).sum()).backward()
    torch.testing.assert_close(gradient, module[0].weight.grad)
    torch.testing.assert_close(taps.read()["net.0"][1], module[2].weight.detach().expand(5, 3))
