"""Perceptrons computed at once, beside the modules that they are read from."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from agents.speed.layers import Quick
from agents.speed.live import AtOnce, LivePerceptrons
from agents.speed.perceptrons import NARROW, OtherNetworkError, Perceptrons

ACTIVATIONS = [nn.ReLU, nn.Tanh, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU]
INPUTS, OUTPUTS = 5, 3


def never(_count: int, _weight: torch.Tensor) -> bool:
    return False


def network(
    activation: type[nn.Module] = nn.ReLU, *, inputs: int = INPUTS, hidden: int = 2 * NARROW, bias: bool = True,
    last: type[nn.Module] | None = None,
) -> nn.Sequential:  # fmt: skip
    """Two hidden layers: one that reads little, and one that reads more than `NARROW` numbers."""
    layers = [nn.Linear(inputs, hidden, bias), activation(), nn.Linear(hidden, hidden + 1, bias), activation()]
    return nn.Sequential(*layers, nn.Linear(hidden + 1, OUTPUTS, bias), *([] if last is None else [last()])).double()


def assert_alike(found: list[torch.Tensor | None], expected: list[torch.Tensor | None], **within: float) -> None:
    for one, other in zip(found, expected, strict=True):
        if other is None:
            assert one is None
        else:
            torch.testing.assert_close(one, other, **within)


def gradients(loss: torch.Tensor, x: torch.Tensor, networks: list[nn.Sequential]) -> list[torch.Tensor | None]:
    for parameter in (x, *nn.ModuleList(networks).parameters()):
        parameter.grad = None
    loss.backward()
    return [each.grad for each in (x, *nn.ModuleList(networks).parameters())]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_outputs_and_gradients_are_the_modules(activation: type[nn.Module], count: int) -> None:
    networks = [network(activation) for _ in range(count)]
    x, weights = torch.randn(7, INPUTS).double().requires_grad_(), torch.randn(count, 7, OUTPUTS)
    expected = torch.stack([each(x) for each in networks])
    found = Perceptrons(networks, pays=never)(x)
    torch.testing.assert_close(found, expected)
    losses = [(out * weights).sum() for out in (found, expected)]
    assert_alike(*(gradients(loss, x, networks) for loss in losses))


@pytest.mark.parametrize("settings", [{"bias": False}, {"last": nn.Tanh}, {"inputs": NARROW + 1, "hidden": 4}], ids=str)
def test_other_layers(settings: dict) -> None:
    networks = [network(**settings) for _ in range(2)]
    x = torch.randn(7, settings.get("inputs", INPUTS)).double().requires_grad_()
    outputs = Perceptrons(networks, pays=never)(x), torch.stack([each(x) for each in networks])
    assert_alike(*(gradients(out.square().sum(), x, networks) for out in outputs))


def test_heads_lie_side_by_side_and_what_is_ahead_takes_no_gradients() -> None:
    body = nn.Sequential(nn.Linear(INPUTS, 8), nn.ReLU()).double()
    heads = [nn.Linear(8, 2).double(), nn.Linear(8, 1).double()]
    x, ahead = torch.randn(7, INPUTS).double().requires_grad_(), torch.randn(4, INPUTS).double().requires_grad_()
    now, later = Perceptrons([body], heads, pays=never)(x, ahead)
    expected = [torch.cat([head(body(each)) for head in heads], dim=1) for each in (x, ahead)]
    torch.testing.assert_close(now[0], expected[0])
    torch.testing.assert_close(later[0], expected[1])
    assert not later.requires_grad
    all_of_it = [body, *heads]
    assert_alike(*(gradients(out.square().sum(), x, all_of_it) for out in (now, expected[0])))
    assert ahead.grad is None


@pytest.mark.parametrize("last", [None, nn.Tanh])
@pytest.mark.parametrize("asked", ["once", "ahead"])
def test_what_was_computed_is_freed_with_what_came_out(last: type[nn.Module] | None, asked: str) -> None:
    networks, x = Perceptrons([network(last=last) for _ in range(2)], pays=never), torch.randn(7, INPUTS).double()
    gc.disable()
    try:
        out = networks(x) if asked == "once" else networks(x, x)[0]
        out.sum().backward()
        left = weakref.ref(out.grad_fn)
        del out
        assert left() is None
    finally:
        gc.enable()


def test_frozen_ones_pass_gradients_on_alone() -> None:
    networks = [network() for _ in range(2)]
    x = torch.randn(7, INPUTS).double().requires_grad_()
    at_x, *others = gradients(Perceptrons(networks, pays=never)(x, frozen=True).square().sum(), x, networks)
    expected, *_ = gradients(torch.stack([each(x) for each in networks]).square().sum(), x, networks)
    torch.testing.assert_close(at_x, expected)
    networks[0].zero_grad()
    assert all(parameter is None for parameter in others)
    with torch.no_grad():
        assert not Perceptrons(networks, pays=never)(x).requires_grad


def test_frozen_parameters_get_no_gradients() -> None:
    networks = [network() for _ in range(2)]
    for parameter in networks[1].parameters():
        parameter.requires_grad_(False)
    x = torch.randn(7, INPUTS).double()
    outputs = Perceptrons(networks, pays=never)(x), torch.stack([each(x) for each in networks])
    assert_alike(*(gradients(out.square().sum(), x, networks) for out in outputs))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_products_in_bfloat16_give_float32_that_is_near(activation: type[nn.Module]) -> None:
    torch.manual_seed(0)
    networks = [network(activation, hidden=64).float() for _ in range(2)]
    x, weights = torch.randn(64, INPUTS).requires_grad_(), torch.randn(2, 64, OUTPUTS)
    large = Perceptrons(networks, pays=lambda count, _weight: count >= 64 * 64 * 64)
    outputs = large(x), torch.stack([each(x) for each in networks])
    torch.testing.assert_close(*outputs, rtol=0.02, atol=0.02)
    found, expected = (gradients((out * weights).sum(), x, networks) for out in outputs)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype is torch.float32
        assert torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.995


@pytest.mark.parametrize(
    "networks",
    [
        [nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 1))],
        [nn.Sequential(nn.Linear(5, 8), nn.Dropout(), nn.Linear(8, 1))],
        [nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 1))],
        [nn.Sequential(nn.Linear(5, 8), nn.Softplus(), nn.Linear(8, 1))],
        [nn.Sequential(nn.Linear(5, 1)), nn.Sequential(nn.Linear(5, 2))],
        [nn.Sequential(nn.Linear(5, 1)), nn.Sequential(nn.Linear(5, 1).double())],
        [nn.Sequential(nn.Linear(5, 1)), nn.Sequential(nn.Linear(5, 1, bias=False))],
        [nn.Sequential()],
    ],
)
def test_other_networks_are_not_computed_here(networks: list[nn.Sequential]) -> None:
    with pytest.raises(OtherNetworkError):
        Perceptrons(networks, pays=never)
    assert LivePerceptrons(never).of(networks) is None


def _watched(undo: Callable[[], None] | None, live: LivePerceptrons, networks: list[nn.Sequential]) -> None:
    assert live.of(networks) is None
    if undo is not None:
        undo()
        assert live.of(networks) is not None


@pytest.mark.parametrize("first", [False, True], ids=["read before", "read after"])
def test_whoever_looks_into_a_network_sees_it_run(first: bool) -> None:
    networks = [network() for _ in range(2)]
    live = LivePerceptrons(never)
    if not first:
        assert live.of(networks) is not None
    handle = networks[1][2].register_forward_pre_hook(lambda *_: None)
    _watched(handle.remove, live, networks)
    handle = networks[0].register_forward_hook(lambda *_: None)
    _watched(handle.remove, live, networks)
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    _watched(handle.remove, live, networks)
    networks[0][4].forward = lambda x: x
    _watched(lambda: networks[0][4].__delattr__("forward"), live, networks)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert live.of(networks) is None
    networks[1]._compiled_call_impl = networks[1]._call_impl  # as `nn.Module.compile` does
    _watched(None, live, networks)


def test_what_takes_a_networks_place_is_read() -> None:
    networks = [network() for _ in range(2)]
    live, x = LivePerceptrons(never), torch.randn(3, INPUTS).double()
    for change in (
        lambda: None,
        lambda: networks.__setitem__(0, network()),
        lambda: networks[0].__setitem__(0, nn.Linear(INPUTS, 2 * NARROW).double()),
        lambda: setattr(networks[1][2], "weight", nn.Parameter(torch.randn(2 * NARROW + 1, 2 * NARROW).double())),
        lambda: networks[0][0].weight.data.zero_(),
    ):
        change()
        found = live.of(networks)
        assert found is not None
        torch.testing.assert_close(found(x), torch.stack([each(x) for each in networks]))
    parametrizations.weight_norm(networks[0][2])
    assert live.of(networks) is None


def test_settings_of_activations_count_as_they_are() -> None:
    networks = [network(nn.LeakyReLU)]
    live = LivePerceptrons(never)
    assert live.of(networks) is not None
    networks[0][1].negative_slope = 0.5
    assert live.of(networks) is None
    networks[0][1].negative_slope = 0.01
    assert live.of(networks) is not None


def test_each_purpose_has_its_own() -> None:
    at_once = AtOnce(Quick(bfloat16=True))
    one, other = [network()], [network()]
    found = at_once.perceptrons("one", one)
    assert at_once.perceptrons("other", other) is not found
    assert at_once.perceptrons("one", one) is found
