"""Large layers compute in bfloat16 where the hardware has it, and nothing else does."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from agents.plasticity.taps import Taps
from agents.plasticity.units.builders import sequential
from agents.speed import activations, hardware, layers
from agents.speed.hardware import has_bfloat16
from agents.speed.layers import Quick


@pytest.fixture
def all_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(layers.PAYS, "cpu", 1)


@pytest.mark.usefixtures("all_pay")
@pytest.mark.parametrize(("layer", "shape"), [(nn.Linear(64, 32), (16, 64)), (nn.Conv2d(3, 8, 3), (4, 3, 6, 6))])
def test_large_layers_take_bfloat16_and_give_float32(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.linspace(-1, 1, 10_000)[: torch.Size(shape).numel()].reshape(shape).requires_grad_()
    with Quick(bfloat16=True):
        out = layer(x)
    exact = layer(x)
    assert out.dtype is torch.float32
    assert not torch.equal(out, exact)
    torch.testing.assert_close(out, exact, atol=0.02, rtol=0.02)
    found, expected = (torch.autograd.grad(each.square().mean(), [x, *layer.parameters()]) for each in (out, exact))
    for gradient, other in zip(found, expected, strict=True):
        assert gradient.dtype is torch.float32
        assert (gradient - other).norm() < 0.02 * other.norm()


def test_small_layers_and_other_hardware_compute_as_ever() -> None:
    layer, x = nn.Linear(1024, 128), torch.randn(64, 1024)
    with Quick(bfloat16=True):
        assert torch.equal(layer(x[:63]), layer(x[:63]))
        large = layer(x)
    assert torch.equal(layer(x[:63]), nn.functional.linear(x[:63], layer.weight, layer.bias))
    assert not torch.equal(large, layer(x))
    with Quick(bfloat16=False):
        assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))


def test_frozen_parameters_take_no_gradients() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    x = torch.randn(3, 4, requires_grad=True)
    expected = torch.autograd.grad(net(x).sum(), x)[0]
    with Quick(bfloat16=False).frozen:
        net(x).sum().backward()
    assert torch.equal(x.grad, expected)
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.usefixtures("all_pay")
def test_taps_see_float32() -> None:
    net = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2))
    network = sequential(net)
    with Quick(bfloat16=True), Taps(network.layers) as taps:
        loss = net(torch.randn(8, 32)).square().mean()
    loss.backward()
    ((activations, gradients),) = taps.read().values()
    assert activations.dtype is gradients.dtype is torch.float32


def test_hardware_without_bfloat16_is_told_of_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "has_bfloat16", lambda _kind: False)
    with pytest.warns(UserWarning, match=r"^speed is 'fast', but this cpu has no .* compute in float32 as ever$"):
        assert not Quick.on(torch.device("cpu"))._bfloat16
    monkeypatch.setattr(layers, "has_bfloat16", lambda _kind: True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Quick.on(torch.device("cpu"))._bfloat16


@pytest.mark.parametrize(
    ("machine", "says", "found"),
    [
        ("aarch64", "Features\t: fp asimd bf16 i8mm\n", True),
        ("aarch64", "Features\t: fp asimd\n", False),
        ("arm64", None, False),
    ],
)
def test_arm_is_known_by_what_linux_says(
    machine: str, says: str | None, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object, **__: object) -> str:
        if says is None:
            raise FileNotFoundError
        return says

    has_bfloat16.cache_clear()
    monkeypatch.setattr(hardware.platform, "machine", lambda: machine)
    monkeypatch.setattr(hardware.Path, "read_text", read)
    assert has_bfloat16("cpu") is found
    assert not has_bfloat16("mps")
    has_bfloat16.cache_clear()


@pytest.mark.parametrize("compiles", [True, False])
@pytest.mark.parametrize("shape", [(activations.MANY // 32, 32), (activations.MANY // 32 - 1, 32), (2048, 16)])
def test_the_tangent_of_many_units_is_computed_in_another_way(
    shape: tuple[int, int], compiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiles:
        monkeypatch.setattr(activations, "kernels", lambda: None)
    x = torch.linspace(-12, 12, shape[0] * shape[1]).reshape(shape).requires_grad_()
    with Quick(bfloat16=False):
        out = nn.Tanh()(x)
        double = torch.tanh(x.double())
    assert torch.equal(double, x.double().tanh())
    assert torch.equal(out, x.tanh()) is (shape != (activations.MANY // 32, 32))
    torch.testing.assert_close(out, x.tanh(), atol=3e-7, rtol=0)
    first, other = (torch.autograd.grad(each.sum(), x, create_graph=True)[0] for each in (out, x.tanh()))
    torch.testing.assert_close(first, other, atol=1e-6, rtol=0)
    second, other = (torch.autograd.grad(each.sum(), x)[0] for each in (first, other))
    torch.testing.assert_close(second, other, atol=2e-6, rtol=0)
    with Quick(bfloat16=False), torch.no_grad():
        assert torch.equal(torch.tanh(x), out)
