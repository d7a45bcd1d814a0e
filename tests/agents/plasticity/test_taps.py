"""What taps see of a forward and a backward."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from agents.plasticity.taps import Taps, joined, untapped
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


@pytest.mark.parametrize("inplace", [False, True])
def test_what_goes_into_the_activation_function_is_tapped_when_it_is_asked_for(inplace: bool) -> None:
    """Behind a normalisation, before pooling; an activation in place works on the very tensor."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(inplace), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4), nn.LayerNorm(4),
        nn.ELU(inplace=inplace), nn.Linear(4, 1),
    )  # fmt: skip
    layers, x = sequential(module).layers, torch.randn(5, 1, 6, 6)
    with Taps(layers, preactivations=True) as taps:
        loss = module(x).square().sum()
    by_edge = torch.autograd.grad(loss, [taps.preactivations[layer.name].edge for layer in layers], retain_graph=True)
    loss.backward()
    found = taps.read_preactivations()
    first = module[0](x).detach().requires_grad_()
    second = module[4:6](module[3](module[2](first.relu())))
    expected = torch.autograd.grad(module[7](nn.functional.elu(second)).square().sum(), [first, second])
    for layer, at_edge, wanted in zip(layers, by_edge, expected, strict=True):
        torch.testing.assert_close(found[layer.name], wanted)
        torch.testing.assert_close(at_edge, wanted)
        assert taps.preactivations[layer.name].shape == wanted.shape
    torch.testing.assert_close(taps.read()["net.1"][1], (2 * module(x) * module[7].weight).detach())
    assert not any(part._forward_hooks for part in module.modules())
    with Taps(layers) as taps:
        module(x).sum().backward()
    assert taps.preactivations == taps.read_preactivations() == {}


def test_preactivations_that_are_not_known_or_take_no_gradient_are_not_read() -> None:
    module, (layer,) = network()
    with Taps([replace(layer, preactivation=None)], preactivations=True) as taps:
        module(torch.ones(1, 2)).sum().backward()
    assert taps.preactivations == taps.read_preactivations() == {}
    assert taps.read().keys() == {"net.0"}
    module[0].requires_grad_(False)
    with Taps([layer], preactivations=True) as taps:
        module(torch.ones(1, 2)).sum().backward()
    assert taps.preactivations["net.0"] == (None, (1, 3))
    assert taps.read_preactivations() == {}
    with Taps([layer], preactivations=True), pytest.raises(RuntimeError, match=r"net\.0: .* ran twice"):
        module[0](torch.ones(1, 2)), module[0](torch.ones(1, 2))


def test_the_first_backward_counts_unless_it_is_forgotten() -> None:
    module, layers = network()
    with Taps(layers, preactivations=True) as taps:
        output = module(torch.randn(5, 2)).sum()
    output.backward(retain_graph=True)
    first, inner = taps.read()["net.0"][1].clone(), taps.read_preactivations()["net.0"].clone()
    (7 * output).backward(retain_graph=True)
    assert torch.equal(taps.read()["net.0"][1], first)
    assert torch.equal(taps.read_preactivations()["net.0"], inner)
    taps.forget()
    assert taps.seen() == ({}, {})
    (2 * output).backward()
    assert torch.equal(taps.seen().taps["net.0"][1], 2 * first)


def test_of_a_scaled_loss_gradients_are_seen_as_they_are_in_single_precision_at_least() -> None:
    layer = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).half()
    with Taps(sequential(layer).layers, preactivations=True) as taps:
        loss = 2.0**-30 * layer(torch.ones(5, 2).half()).float().sum()
    scale = torch.tensor(2.0**20)
    (scale * loss).backward()
    seen = taps.seen(scale)
    a, g = seen.taps["net.0"]
    assert (a.dtype, g.dtype) == (torch.float16, torch.float32)
    assert torch.equal(g, 2.0**-30 * layer[2].weight.detach().float().expand(5, 3))
    assert seen.preactivation_grads["net.0"].dtype == torch.float32


def test_parts_of_a_batch_are_seen_as_one() -> None:
    module, layers = network()
    x, weights = torch.randn(5, 2), torch.randn(5, 1)
    parts = []
    for rows in (slice(0, 5), slice(0, 2), slice(2, 5)):
        with Taps(layers, preactivations=True) as taps:
            loss = (weights[rows] * module(x[rows])).sum()
        loss.backward()
        parts.append(taps.seen())
    whole, together = parts[0], joined(parts[1:])
    for left, right in zip(whole.taps["net.0"], together.taps["net.0"], strict=True):
        torch.testing.assert_close(left, right)
    torch.testing.assert_close(whole.preactivation_grads, together.preactivation_grads)
    assert joined([]) == ({}, {})


@pytest.mark.parametrize("inplace", [False, True])
def test_no_tapped_tensor_outlives_its_taps(inplace: bool) -> None:
    """Python's collector is off: nothing may lead from a tensor's hooks back to it."""
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace), nn.Linear(3, 1))
    held: list[weakref.ref[Tensor]] = []
    for index in (0, 1):
        module[index].register_forward_hook(lambda module, inputs, output: held.append(weakref.ref(output)))
    gc.disable()
    try:
        with Taps(sequential(module).layers, preactivations=True) as taps:
            module(torch.randn(5, 2)).sum().backward()
        assert taps.read_preactivations()
        del taps
        assert [reference() for reference in held] == [None] * 2
    finally:
        gc.enable()


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


def test_forwards_of_other_threads_are_not_seen() -> None:
    """An agent that learns may be asked for actions by another thread at the same time."""
    module, layers = network()
    x = torch.randn(5, 2)
    with Taps(layers, preactivations=True) as taps:
        loss = module(x).sum()
        with ThreadPoolExecutor(1) as pool:
            elsewhere = pool.submit(module, torch.randn(7, 2)).result()
    loss.backward()
    assert torch.equal(taps.activations["net.0"], module[:2](x))
    assert taps.preactivations["net.0"].shape == (5, 3)
    assert elsewhere.shape == (7, 1)
