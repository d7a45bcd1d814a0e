"""First layers on boards of zeros and ones compute what dense ones do, and only where few cells are set."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional as F

from agents.networks import MinAtarCNN
from agents.speed import boards, kernels, layers
from agents.speed.boards import Boards
from agents.speed.layers import Quick

QUICK = Quick(bfloat16=False)


def some_boards(*shape: int, share: float = 0.03) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)) < share


def with_gradients(layer: nn.Module, out: Tensor) -> list[Tensor]:
    weights = torch.linspace(-1, 1, out.numel()).reshape(out.shape)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), [*layer.parameters()])]


@pytest.mark.parametrize("order", ["channels last", "channels first"])
@pytest.mark.parametrize(
    ("kernel", "sides", "filters"), [((3, 3), (10, 10), 16), ((2, 3), (7, 5), 32), ((5, 5), (5, 5), 16)]
)
def test_convolutions_are_dense_ones(
    kernel: tuple[int, int], sides: tuple[int, int], filters: int, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "DENSE", 1)
    layer = nn.Conv2d(4, filters, kernel)
    last = some_boards(6, *sides, 4)
    last[0] = False
    last[1, 0, 0, 0] = last[1, -1, -1, -1] = last[2] = True  # corners, and every cell

    def maps(bits: Tensor) -> Tensor:
        bits = bits.permute(0, 3, 1, 2)
        return layer(bits.contiguous() if order == "channels first" else bits)

    with QUICK:
        out = maps(last.float())
    assert type(out.grad_fn).__name__ == "_ConvolutionBackward"
    for found, expected in zip(
        with_gradients(layer, out), with_gradients(layer, maps(last.to(torch.float32))), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_minatars_features_are_computed_at_once_unless_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways round to bfloat16 at the same places; units near 0 that rounding moves across it change gradients."""
    monkeypatch.setitem(layers.PAYS, "cpu", 1)
    torch.manual_seed(0)  # how many units are near 0 is a matter of chance
    network = MinAtarCNN(spaces.Box(0, 1, (10, 10, 10), np.bool_))
    with torch.no_grad():
        network.cnn[0].bias.uniform_(-0.1, 0.1)
    bits, seen = some_boards(9, 10, 10, 10), []
    exact = network(bits.to(torch.float32))
    with Quick(bfloat16=True):
        at_once = network(bits.float())
        network.cnn[1].register_forward_hook(lambda *given: seen.append(given[2]))
        watched = network(bits.float())
    assert type(at_once.grad_fn.next_functions[0][0]).__name__ == "_FeaturesBackward"
    assert [(type(each), each.dtype) for each in seen] == [(Tensor, torch.float32)]
    ways = [with_gradients(network, out) for out in (exact, at_once, watched)]
    for expected, found, other in zip(*ways, strict=True):
        assert (found - expected).norm() < 0.2 * expected.norm()
        assert (found - other).norm() < 0.04 * other.norm()


@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_are_dense_ones(bias: bool) -> None:
    layer, bits = nn.Linear(301, 48, bias=bias), some_boards(6, 7, 43)
    with QUICK:
        out = layer(bits.float().flatten(1))
    assert type(out.grad_fn).__name__ == "_LinearBackward"
    dense = layer(bits.flatten(1).to(torch.float32))
    for found, expected in zip(with_gradients(layer, out), with_gradients(layer, dense), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "bits"),
    [
        (nn.Linear(100, 16), some_boards(4, 100, share=0.5)),
        (nn.Linear(100, 10), some_boards(4, 100)),
        (nn.Conv2d(4, 16, 3, padding=1), some_boards(4, 4, 6, 6)),
        (nn.Conv2d(4, 16, 3, stride=2), some_boards(4, 4, 6, 6)),
        (nn.Conv2d(4, 16, 3, groups=2), some_boards(4, 4, 6, 6)),
        (nn.Linear(100, 16).double(), some_boards(4, 100)),
    ],
    ids=["half is set", "10 units", "padded", "stride 2", "groups", "double"],
)
def test_other_layers_are_dense(layer: Any, bits: Tensor) -> None:
    with QUICK:
        floats = bits.float() if layer.weight.dtype is torch.float32 else bits.double()
        out = layer(floats)
    assert torch.equal(out, layer(bits.to(layer.weight.dtype)))


def test_whoever_asks_gets_floats() -> None:
    bits = some_boards(4, 5, 5)
    with QUICK:
        found = bits.float()
        assert isinstance(found, Boards)
        assert (found.dtype, found.shape) == (torch.float32, bits.shape)
        assert isinstance(found.flatten(1), Boards)
        values = [found + 1, found / 255, torch.cat([found, found]), found[0], found.mean(), F.relu(found)]
    floats = bits.to(torch.float32)
    expected = [floats + 1, floats / 255, torch.cat([floats, floats]), floats[0], floats.mean(), F.relu(floats)]
    for value, other in zip(values, expected, strict=True):
        assert type(value) is Tensor
        assert torch.equal(value, other)
    assert type(bits.float()) is Tensor


def test_what_is_written_to_boards_is_found_there() -> None:
    layer, bits = nn.Linear(100, 16), some_boards(4, 10, 10)

    def written() -> list[Tensor]:
        boards = bits.float()
        boards[:, 0] = 0.5
        boards[1].mul_(3)
        boards += 1
        return [boards, boards.float().flatten(1), layer(boards.flatten(1))]

    def sensitivity() -> Tensor:
        boards = bits.float().flatten(1)
        boards.requires_grad = True
        layer(boards).sum().backward()
        return boards.grad

    expected = [*written(), sensitivity()]
    with QUICK:
        found = [*written(), sensitivity()]
    for value, other in zip(found, expected, strict=True):
        assert torch.equal(value, other)


WRITTEN: dict[str, Callable[[Tensor], Any]] = {
    "view": lambda boards: boards.view(-1)[:7].fill_(torch.nan),
    "copy": lambda boards: boards.transpose(0, 1).flatten(1).contiguous()[0, 0].fill_(0),
    "numpy": lambda boards: boards.numpy().__setitem__(0, np.nan),
    "data": lambda boards: boards.data[0].fill_(torch.inf),
}


@pytest.mark.parametrize("write", WRITTEN.values(), ids=WRITTEN)
def test_what_is_written_is_found_in_what_shares_memory_and_in_no_copy(write: Callable[[Tensor], Any]) -> None:
    layer, bits = nn.Linear(100, 16), some_boards(4, 10, 10)

    def outputs() -> list[Tensor]:
        boards = bits.float()
        flat, copied = boards.flatten(1), boards.transpose(1, 2).flatten(1)
        write(boards)
        return [layer(each) for each in (boards.flatten(1), flat, copied)]

    expected = outputs()
    with QUICK:
        found = outputs()
    torch.testing.assert_close(found, expected, equal_nan=True)


def test_boards_that_are_cut_into_more_are_looked_at_by_themselves() -> None:
    """As those of a stack of frames, each of which the same layer reads."""
    first, layer, bits = nn.Linear(100, 16), nn.Linear(50, 16), some_boards(6, 2, 50)

    def outputs() -> list[Tensor]:
        stacks = bits.float().flatten(1)
        return [first(stacks), layer(stacks.view(12, 50)), first(stacks.view(6, 100))]

    expected = outputs()
    with QUICK:
        found = outputs()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize(("layer", "shape"), [(nn.Linear(100, 16), (4, 100)), (nn.Conv2d(4, 16, 3), (4, 4, 10, 10))])
def test_weights_of_unset_cells_that_are_no_numbers_spread_as_in_dense_layers(
    layer: nn.Module, shape: tuple[int, ...], value: float
) -> None:
    layer, bits = copy.deepcopy(layer), some_boards(*shape)
    with torch.no_grad():
        layer.weight.view(-1)[0] = value
    bits.view(-1)[0] = False
    with QUICK:
        out = layer(bits.float())
    expected = layer(bits.to(torch.float32))
    assert torch.equal(out.isnan(), expected.isnan())
    assert out.isnan().any()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(90, 16), (4, 100)), (nn.Linear(110, 16), (4, 100)), (nn.Conv2d(3, 16, 3), (4, 4, 10, 10)),
        (nn.Conv2d(4, 16, (11, 3)), (4, 4, 10, 10)),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_as_ever(layer: nn.Module, shape: tuple[int, ...]) -> None:
    bits = some_boards(*shape)
    with pytest.raises(RuntimeError) as expected:
        layer(bits.float())
    with QUICK, pytest.raises(RuntimeError) as found:
        layer(bits.float())
    assert str(found.value) == str(expected.value)


def test_parameters_may_be_columns_of_others() -> None:
    both, bits = torch.randn(16, 101, 2), some_boards(4, 100)
    weight, bias = both[:, :100, 0], both[:, 100, 1]
    with QUICK:
        out = F.linear(bits.float(), weight, bias)
    torch.testing.assert_close(out, F.linear(bits.float(), weight, bias))


def test_set_cells_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    find = kernels.find
    monkeypatch.setattr(kernels, "find", lambda *given: asked.append(1) or find(*given))
    first, second, bits = nn.Linear(100, 16), nn.Linear(100, 32), some_boards(4, 10, 10)
    with QUICK:
        flat = bits.float().flatten(1)
        first(flat), second(flat)
    assert len(asked) == 1


def test_without_numba_layers_are_dense_and_one_warning_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    boards.kernels.cache_clear()
    layers._tell_where_dense.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "agents.speed.kernels", None)
    monkeypatch.delattr("agents.speed.kernels")
    layer, bits = nn.Linear(100, 16), some_boards(4, 100)
    with QUICK, pytest.warns(UserWarning, match=r"^numba cannot be imported .*; pip install numba$"):
        out = layer(bits.float())
    assert torch.equal(out, layer(bits.to(torch.float32)))
    boards.kernels.cache_clear()
    layers._tell_where_dense.cache_clear()


@pytest.mark.parametrize(("units", "stretch"), [(64, 2**31), (80, 30), (16, 7)])
def test_linear_layers_add_stretch_after_stretch_in_the_order_of_cells(units: int, stretch: int) -> None:
    """To the last bit, on which `agents.speed.order` relies."""
    rng, bits = np.random.default_rng(0), some_boards(6, 100, share=0.2).numpy()
    bits[0], bits[1] = False, True
    weight, bias = (rng.standard_normal(size).astype(np.float32) for size in ((100, units), units))
    cells, starts = np.empty(bits.size, np.int32), np.empty(7, np.int64)
    kernels.find(bits.view(np.uint8), cells, starts)
    found = np.empty(6 * units, np.float32)
    kernels.linear(cells, starts, weight.ravel(), bias, stretch, found)
    for board, out in zip(bits, found.reshape(6, units), strict=True):
        expected, places = bias.copy(), np.flatnonzero(board)
        for number in np.unique(places // stretch):
            tile = np.zeros(units, np.float32)
            for place in places[places // stretch == number]:
                tile += weight[place]
            expected += tile
        assert np.array_equal(out, expected)
