"""Layers on boards give the bits of torch's dense ones, or are left to these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO as StockPPO
from torch import Tensor, nn
from torch.nn import functional as F

import envs
from agents import PPO, StreamMonitor, VectorEnvAdapter
from agents.networks import MinAtarCNN
from agents.speed import order, sparse
from agents.speed.boards import Boards
from agents.speed.sharing import at_once, shares
from agents.speed.sparse import WHOLE
from agents.speed.threads import one_thread


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def some_boards(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(3)) < 0.04


def of(compute: Callable[..., Any], boards: Tensor, layer: nn.Module, *, at: float = 1.0) -> list[Tensor]:
    """Outputs and gradients, as bits."""
    out = compute(boards, layer.weight, layer.bias)
    weights = torch.linspace(-at, at, out.numel()).reshape(out.shape)
    found = [out.detach(), *torch.autograd.grad(out, [layer.weight, layer.bias], weights)]
    return [each.contiguous().view(torch.int32) for each in found]


def assert_same_bits(found: list[Tensor], expected: list[Tensor]) -> None:
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("n", [7, 64, 600])
def test_convolutions_give_the_bits_of_dense_ones(n: int, threads: int) -> None:
    layer, last = nn.Conv2d(10, 16, 3), some_boards(n, 10, 10, 10)
    bits = last.permute(0, 3, 1, 2)
    boards, floats = bits.as_subclass(Boards), bits.to(torch.float32)
    follows = order._follows(tuple(bits.shape), tuple(layer.weight.shape), order._settings())
    assert (order.convolution(boards, layer.weight, layer.bias) is not None) == all(follows)
    assert_same_bits(of(F.conv2d, boards, layer), of(F.conv2d, floats, layer))
    if all(follows):
        rectified = of(sparse.rectified, boards, layer)
        assert_same_bits(rectified, of(lambda *given: F.conv2d(*given).relu(), floats, layer))


def test_linear_layers_give_the_bits_of_dense_ones(threads: int) -> None:
    layer, bits = nn.Linear(1000, 64), some_boards(600, 1000)
    known = order._stretches(600, 64, 1000, order._settings())
    assert (order.linear(bits.as_subclass(Boards), layer.weight, layer.bias) is not None) == (known is not None)
    assert_same_bits(of(F.linear, bits.as_subclass(Boards), layer), of(F.linear, bits.to(torch.float32), layer))


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_is_no_number_spreads_as_in_dense_layers(value: float) -> None:
    layer, bits = nn.Conv2d(10, 16, 3), some_boards(300, 10, 10, 10).permute(0, 3, 1, 2)
    ways = [bits.as_subclass(Boards), bits.to(torch.float32)]
    of_gradients = [of(F.conv2d, read, layer, at=value) for read in ways]
    assert_same_bits(*of_gradients)
    with torch.no_grad():
        layer.weight[0, 0, 0, 0] = value
    assert_same_bits(*(of(F.conv2d, read, layer) for read in ways))


@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.Conv2d(10, 16, 3), (300, 10, 10, 10)), (nn.Linear(1000, 16), (300, 1000))]
)
def test_gradients_can_be_differentiated_again(layer: Any, shape: tuple[int, ...]) -> None:
    bits = some_boards(*shape).movedim(-1, 1)
    found = []
    for read in (bits.as_subclass(Boards), bits.to(torch.float32)):
        (gradient,) = torch.autograd.grad(layer(read).square().sum(), layer.weight, create_graph=True)
        found.append(torch.autograd.grad(gradient.square().sum(), layer.weight)[0])
    assert torch.equal(*found)


@pytest.mark.parametrize("frozen", ["weight", "bias"])
@pytest.mark.parametrize("value", [1.0, float("inf")])
def test_half_of_a_layer_may_be_frozen(frozen: str, value: float) -> None:
    layer, bits = nn.Conv2d(10, 16, 3), some_boards(300, 10, 10, 10).permute(0, 3, 1, 2)
    getattr(layer, frozen).requires_grad_(False)
    learnt = layer.bias if frozen == "weight" else layer.weight
    found = []
    for read in (bits.as_subclass(Boards), bits.to(torch.float32)):
        layer.zero_grad()
        out = layer(read)
        out.backward(torch.full_like(out, value))
        found.append(learnt.grad.clone())
        assert getattr(layer, frozen).grad is None
    torch.testing.assert_close(*found, equal_nan=True)


def test_layers_without_a_bias_take_gradients_that_are_no_numbers() -> None:
    weight, bits = nn.Parameter(torch.randn(16, 1000)), some_boards(300, 1000)
    out = sparse.linear(bits.as_subclass(Boards), weight, None)
    out.backward(torch.full_like(out, float("nan")))
    assert weight.grad.isnan().all()


def test_boards_may_be_given_by_name() -> None:
    layer, bits = nn.Linear(1000, 16), some_boards(300, 1000)
    found = F.linear(input=bits.as_subclass(Boards), weight=layer.weight, bias=layer.bias)
    assert torch.equal(found, layer(bits.to(torch.float32)))


def test_another_order_is_seen_and_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    bits, layer = some_boards(300, 1000), nn.Linear(1000, 16)
    settings = ("another machine",)
    monkeypatch.setattr(order, "STRETCHES", (7, WHOLE.inputs - 1))
    assert order._stretches(300, 16, 1000, settings) is None
    monkeypatch.setattr(order, "_settings", lambda: settings)
    assert order.linear(bits.as_subclass(Boards), layer.weight, layer.bias) is None


def test_convolutions_without_gradients_are_read_by_cells_where_one_thread_computes() -> None:
    """In rollouts, where shares of several threads would have other gradients than one has."""
    layer, bits = nn.Conv2d(4, 16, 3), some_boards(64, 10, 10, 4).permute(0, 3, 1, 2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread(), torch.no_grad():
            follows = order._follows(tuple(bits.shape), tuple(layer.weight.shape), order._settings())
            out = order.convolution(bits.as_subclass(Boards), layer.weight, layer.bias)
            assert (out is not None) == follows.forward
            assert out is None or torch.equal(out, layer(bits.to(torch.float32)))
    finally:
        torch.set_num_threads(before)


def test_no_floats_are_made_of_boards_that_are_read_by_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    network = MinAtarCNN(spaces.Box(0, 1, (10, 10, 4), np.bool_))
    boards = some_boards(256, 10, 10, 4).as_subclass(Boards)
    monkeypatch.setattr(order, "_follows", lambda *_: order.Same(True, True))
    monkeypatch.setattr(Boards, "floats", lambda self: pytest.fail("they were made"))
    assert network(boards).shape == (256, 128)


def test_modules_of_ones_own_are_run() -> None:
    class Doubled(nn.ReLU):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    network = MinAtarCNN(spaces.Box(0, 1, (10, 10, 4), np.bool_), activation_fn=Doubled)
    bits = some_boards(256, 10, 10, 4)
    assert torch.equal(network(bits.as_subclass(Boards)), network(bits.to(torch.float32)))


def test_few_shapes_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "SHAPES", 2)
    asked: list[int] = []
    known = order._of_few_shapes(lambda shape: asked.append(shape) or shape)
    assert [known(shape) for shape in (1, 2, 3, 1, 2)] == [1, 2, None, 1, 2]
    assert asked == [1, 2]


def test_newer_settings_of_precision_are_seen() -> None:
    of_kind = getattr(torch.backends.mkldnn, "matmul", None)
    if not hasattr(of_kind, "fp32_precision"):
        pytest.skip("this torch has none")
    usual, before = order._settings(), of_kind.fp32_precision
    try:
        of_kind.fp32_precision = "bf16"
        assert order._settings() != usual
    finally:
        of_kind.fp32_precision = before
    assert order._settings() == usual


def test_work_is_dealt_out_in_turn(threads: int) -> None:
    assert shares(5) == ([(0, 5)] if threads == 1 else [(0, 3), (3, 5)])
    assert shares(1) == [(0, 1)]
    made: list[int] = []
    at_once([lambda: made.append(1), lambda: made.append(2)], pays=threads > 1)
    assert sorted(made) == [1, 2]
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("policy", ["CnnPolicy", "MlpPolicy"])
def test_training_on_boards_gives_sb3s_parameters(policy: str, threads: int) -> None:
    settings = {"n_steps": 40, "batch_size": 640, "n_epochs": 2, "seed": 4, "device": "cpu"}
    ours = PPO(policy, envs.make("space_invaders", n_envs=32), **settings).learn(2 * 40 * 32)
    stock_env = StreamMonitor(VectorEnvAdapter(envs.make("space_invaders", n_envs=32)))
    stock = StockPPO(policy, stock_env, policy_kwargs=ours.policy_kwargs, **settings).learn(2 * 40 * 32)
    found, expected = ours.policy.state_dict(), stock.policy.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
