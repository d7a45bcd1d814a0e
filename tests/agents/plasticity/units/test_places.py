"""Units that no module puts out are seen and held where their consumers take them in."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from agents.plasticity.audit import _held
from agents.plasticity.layers import CReLU
from agents.plasticity.taps import Taps
from agents.plasticity.units import Consumer, TorchDefault, UnitLayer, sequential
from agents.plasticity.units.places import Input, Output


class Net(nn.Module):
    """Five units behind two that are not theirs; read by two heads, and by a third one beside a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.left, self.right = nn.Linear(3, 5), nn.Linear(5, 1), nn.Linear(5, 1)
        self.beside = nn.Linear(7, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.body(x))
        return self.left(h) + 2 * self.right(input=h) + 4 * self.beside(torch.cat([x[:, :2], h], 1))


def net() -> tuple[Net, UnitLayer]:
    torch.manual_seed(0)
    model = Net()
    readers = [(model.left, 0), (model.right, 0), (model.beside, 2)]
    consumers = [Consumer(m.weight, m.bias, start, module=m) for m, start in readers]
    return model, UnitLayer("net.0", "net", model.body, None, tuple(consumers), TorchDefault())


def test_a_gradient_sums_over_all_that_read_the_units() -> None:
    model, layer = net()
    x = torch.randn(4, 3)
    with Taps([layer]) as taps:
        loss = model(x).sum()
    loss.backward()
    a, g = taps.read()["net.0"]
    torch.testing.assert_close(a, torch.tanh(model.body(x)).detach())
    by_hand = model.left.weight + 2 * model.right.weight + 4 * model.beside.weight[:, 2:]
    torch.testing.assert_close(g, by_hand.detach().expand(4, 5))


def test_units_are_held_in_all_that_read_them() -> None:
    model, layer = net()
    x = torch.randn(4, 3)
    with torch.no_grad():
        with _held(layer, torch.tensor([1, 4]), torch.tensor(0.5)):
            held = model(x)
        h = torch.tanh(model.body(x))
        h[:, [1, 4]] = 0.5
        by_hand = model.left(h) + 2 * model.right(h) + 4 * model.beside(torch.cat([x[:, :2], h], 1))
        torch.testing.assert_close(held, by_hand)
        assert not torch.allclose(model(x), held)


@pytest.mark.parametrize(
    ("module", "place", "shape", "shown"),
    [
        (nn.Linear(9, 1), (1, 4, 2), (3, 9), (3, 4, 2)),
        (nn.Linear(9, 1), (2, 4, 1), (3, 6, 9), (3, 4, 6)),
        (nn.Conv2d(9, 1, 1), (5, 4, 1), (3, 9, 2, 2), (3, 4, 2, 2)),
        # Of two values each, a first one for all units before the second ones.
        (nn.Linear(9, 1), (1, 4, 1, 2), (3, 9), (3, 4, 2)),
        (nn.Linear(14, 1), (1, 2, 3, 2), (3, 5, 14), (3, 2, 5, 6)),
        (nn.Conv2d(9, 1, 1), (1, 4, 1, 2), (3, 9, 2, 2), (3, 4, 2, 2, 2)),
    ],
)
def test_units_are_axis_1_of_what_is_shown(module: nn.Module, place: tuple, shape: tuple, shown: tuple) -> None:
    where = Input(module, *place)
    taken = torch.randn(shape)
    units = where.units(taken)
    assert units.shape == shown
    assert torch.equal(where.with_units(taken, units), taken)
    start, count, block, fold = (*place, 1)[:4]
    width = count * block * fold
    axis = 1 if isinstance(module, nn.Conv2d) else -1
    changed = where.with_units(taken, torch.full(shown, 7.0)) == 7
    columns = changed.movedim(axis, 0).flatten(1)
    assert columns.all(1).nonzero().flatten().tolist() == list(range(start, start + width))
    assert int(columns.any(1).sum()) == width


def test_the_values_of_a_unit_lie_as_far_apart_as_there_are_units() -> None:
    columns = torch.arange(12.0).view(1, 12)  # of 3 units: 2 values of 2 positions each
    assert Input(nn.Linear(12, 1), 0, 3, 2, 2).units(columns)[0].tolist() == [
        [0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11],
    ]  # fmt: skip
    assert Output(nn.Identity(), 2).units(columns)[0].tolist() == [[unit, unit + 6] for unit in range(6)]
    maps = columns.view(1, 6, 2, 1)
    assert Output(nn.Identity(), 2).units(maps).shape == (1, 3, 2, 2, 1)
    assert Output(nn.Identity(), 2).units(maps)[0, 1].flatten().tolist() == [2, 3, 8, 9]
    assert torch.equal(Output(nn.Identity(), 2).with_units(maps, Output(nn.Identity(), 2).units(maps)), maps)


@pytest.mark.parametrize("fold", [1, 2])
def test_of_a_sequence_the_last_axis_is_the_units(fold: int) -> None:
    sequence = torch.arange(24.0).view(1, 4, 6)
    place = Output(nn.Identity(), fold)
    units = place.units(sequence)
    assert units.shape == ((1, 6, 4) if fold == 1 else (1, 3, 2, 4))
    assert units[0, 1].flatten().tolist() == [1, 7, 13, 19] + ([4, 10, 16, 22] if fold == 2 else [])
    assert torch.equal(place.with_units(sequence, units), sequence)


@pytest.mark.parametrize("activation", [nn.ReLU, CReLU])
def test_units_of_sequences_are_scored(activation: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), activation(), nn.Linear(12 if activation is CReLU else 6, 1))
    layer = sequential(model).layers[0]
    x = torch.randn(5, 4, 3)
    with Taps([layer], preactivations=True) as taps:
        model(x).sum().backward()
    a, g = taps.read()[layer.name]
    assert a.shape[:2] == g.shape[:2] == taps.read_preactivations()[layer.name].shape[:2] == (5, 6)
    by_hand = model[:2](x).detach()[..., :6].mean((0, 1))
    torch.testing.assert_close(layer.mean(a).view(6, -1)[:, 0], by_hand)


def test_without_a_tap_every_consumer_names_its_module() -> None:
    model, layer = net()
    blind = Consumer(model.left.weight, model.left.bias)
    with pytest.raises(ValueError, match=r"^net\.0: tap is None and a consumer has no module.*give the module whose"):
        UnitLayer("net.0", "net", model.body, None, (*layer.consumers, blind), TorchDefault())
