"""Kinds of surgery on networks worked out by hand: outgoing weights, parts of units, normalisations."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from operated import assert_same, every, nobody, seeded, state_of, stepped
from torch import Tensor, nn

from agents.plasticity.surgery import Surgery, reset_units
from agents.plasticity.units import sequential


@pytest.fixture
def wide() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 2000), nn.ReLU(), nn.Linear(2000, 3))


def test_small_random_weights_have_a_share_of_the_consumers_deviation(wide: nn.Sequential) -> None:
    layers = list(sequential(wide).layers)
    with torch.no_grad():
        wide[2].weight.mul_(7)
    before = wide[2].weight.detach().clone()
    deviation = float(before.square().mean().sqrt())
    for scale in (0.05, 0.5):
        amounts = {**nobody(layers), "net.0": torch.tensor([1.0, 1.0] + [0.0] * 38)}
        reset_units(layers, amounts, [], seeded, Surgery(outgoing="small_random", scale=scale))
        new = wide[2].weight.detach()[:, :2]
        assert abs(float(new.std()) / (scale * deviation) - 1) < 0.05  # of 4,000 numbers
        assert abs(float(new.mean())) < 0.05 * scale * deviation
        assert torch.equal(wide[2].weight[:, 2:], before[:, 2:])
        with torch.no_grad():
            wide[2].weight.copy_(before)


def test_a_kept_column_stays_and_only_the_rows_are_new(wide: nn.Sequential) -> None:
    layers, before = list(sequential(wide).layers), state_of(wide)
    optimizer = torch.optim.Adam(wide.parameters())
    moments = stepped(wide, optimizer)
    wide.load_state_dict(before)
    amounts = {**nobody(layers), "net.0": torch.tensor([1.0, 1.0] + [0.0] * 38)}
    reset_units(layers, amounts, [optimizer], seeded, Surgery(outgoing="keep"))
    changed = {name for name, tensor in wide.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"0.weight", "0.bias"}
    state = optimizer.state_dict()["state"]
    assert torch.equal(state[2]["exp_avg"], moments[2]["exp_avg"])  # the consumer's
    assert not state[0]["exp_avg"][:2].any()


def test_hidden_readers_of_a_layer_that_is_new_as_a_whole_are_drawn_where_they_are_given() -> None:
    """Convolution to linear: each unit's positions are read by a block of columns. The output layer reads zeros."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2))
    layers, before = list(sequential(model).layers), state_of(model)
    generator = seeded(layers[0])
    layers[0].init.draw(model[0], generator)  # the layer's own rows come first
    drawn, _ = layers[1].init.draw(model[3], generator)
    reset_units(layers, {layer.name: every(layer, 1) for layer in layers}, [], seeded, readers=layers)
    assert torch.equal(model[3].weight, drawn)
    assert not model[5].weight.any()
    model.load_state_dict(before)
    most = {**nobody(layers), "net.0": torch.tensor([1.0, 1.0, 0.999])}
    reset_units(layers, most, [], seeded, readers=layers)
    assert not model[3].weight[:, :8].any()


def test_biases_can_be_kept_and_normalisations_with_them() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 2
    layers, before = list(sequential(model).layers), state_of(model)
    reset_units(layers, {"net.0": torch.ones(4)}, [], seeded, Surgery(biases="keep"))
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"0.weight", "3.weight"}


@pytest.mark.parametrize("outgoing", ["zero", "small_random", "keep"])
def test_a_part_of_a_unit_is_mixed_with_a_fresh_one(outgoing: str, wide: nn.Sequential) -> None:
    """Calibrated partial resets: W_in becomes (1-p) W_in + p fresh, W_out becomes (1-p) W_out."""
    layers, before = list(sequential(wide).layers), state_of(wide)
    p = torch.linspace(0, 1, 40)
    fresh, fresh_bias = layers[0].init.draw(wide[0], seeded(layers[0]))
    surgery = Surgery(outgoing=outgoing)
    reset_units(layers, {**nobody(layers), "net.0": p}, [], seeded, surgery)
    rows = p.unsqueeze(1)
    torch.testing.assert_close(wide[0].weight.detach(), (1 - rows) * before["0.weight"] + rows * fresh)
    torch.testing.assert_close(wide[0].bias.detach(), (1 - p) * before["0.bias"] + p * fresh_bias)
    assert torch.equal(wide[0].weight[0], before["0.weight"][0])
    assert torch.equal(wide[0].weight[39], fresh[39])
    columns = wide[2].weight.detach()
    if outgoing == "keep":
        assert torch.equal(columns, before["2.weight"])
    elif outgoing == "zero":
        torch.testing.assert_close(columns, (1 - p) * before["2.weight"])
    else:
        added = columns - (1 - p) * before["2.weight"]
        expected = 0.05 * before["2.weight"].square().mean().sqrt() * p
        torch.testing.assert_close(added.std(0), expected, rtol=0.1, atol=1e-7)
    others = {"2.bias", "4.weight", "4.bias"}
    assert_same({name: before[name] for name in others}, {name: wide.state_dict()[name] for name in others})


def test_a_partial_reset_keeps_biases_and_moments_where_it_is_told_to(wide: nn.Sequential) -> None:
    optimizer = torch.optim.Adam(wide.parameters())
    moments, layers = stepped(wide, optimizer), list(sequential(wide).layers)
    before = state_of(wide)
    amounts = {layer.name: torch.full((layer.units,), 0.25) for layer in layers}
    reset_units(layers, amounts, [optimizer], seeded, Surgery(biases="keep", moments="keep"))
    for name in ("0.bias", "2.bias", "4.bias"):
        assert torch.equal(wide.state_dict()[name], before[name])
    fresh, _ = layers[1].init.draw(wide[2], seeded(layers[1]))
    # a weight between two layers is mixed as a row and shrunk as a column
    mixed = 0.75 * (0.75 * before["2.weight"] + 0.25 * fresh)
    torch.testing.assert_close(wide[2].weight.detach(), mixed)
    torch.testing.assert_close(wide[4].weight.detach(), 0.75 * before["4.weight"])
    for number, state in optimizer.state_dict()["state"].items():
        assert all(torch.equal(state[key], value) for key, value in moments[number].items())


@pytest.mark.parametrize("outgoing", ["zero", "small_random"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_really_replaced(outgoing: str, bad: float, wide: nn.Sequential) -> None:
    layers = list(sequential(wide).layers)
    with torch.no_grad():
        wide[0].weight[3] = bad
        wide[0].bias[3] = bad
        wide[2].weight[:, 3] = bad
    amounts = {**nobody(layers), "net.0": (torch.arange(40) == 3).float()}
    reset_units(layers, amounts, [], seeded, Surgery(outgoing=outgoing))
    assert all(parameter.isfinite().all() for parameter in wide.parameters())
    assert wide[2].weight[:, 3].any() == (outgoing == "small_random")
    assert wide(torch.randn(2, 30)).isfinite().all()


def test_entries_that_are_not_touched_keep_every_bit(wide: nn.Sequential) -> None:
    """A zero keeps its sign, and a number that is not finite stays."""
    layers = list(sequential(wide).layers)
    with torch.no_grad():
        for parameter in wide.parameters():
            parameter.flatten()[::7] = -0.0
            parameter.flatten()[::11] = math.nan
    before = state_of(wide)
    for surgery in (Surgery(), Surgery(outgoing="small_random"), Surgery(moments="keep", biases="keep")):
        for amount in (1.0, 0.5):
            amounts = {layer.name: torch.where(torch.arange(layer.units) < 2, amount, 0.0) for layer in layers}
            reset_units(layers, amounts, [], seeded, surgery)
    after = wide.state_dict()

    def bits(tensor: Tensor) -> Tensor:
        return tensor.view(torch.int32)

    assert torch.equal(bits(after["0.weight"][2:]), bits(before["0.weight"][2:]))
    assert torch.equal(bits(after["0.bias"][2:]), bits(before["0.bias"][2:]))
    assert torch.equal(bits(after["2.weight"][2:, 2:]), bits(before["2.weight"][2:, 2:]))
    assert torch.equal(bits(after["4.weight"][:, 2:]), bits(before["4.weight"][:, 2:]))
    assert torch.equal(bits(after["4.bias"]), bits(before["4.bias"]))
    assert (bits(before["0.weight"][2:]) == bits(torch.tensor(-0.0))).any()


NORMS = {
    "layer": (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2)), 1),
    "rms": (nn.Sequential(nn.Linear(3, 4), nn.RMSNorm(4), nn.ReLU(), nn.Linear(4, 2)), 1),
    "rms of maps": (
        nn.Sequential(nn.Conv2d(1, 4, 2), nn.RMSNorm((4, 2, 2)), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)), 1,
    ),
    "behind": (nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.LayerNorm(4), nn.Linear(4, 2)), 2),
    "batch": (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)), 1),
    "batch of maps": (
        nn.Sequential(nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)), 1,
    ),
    "layer of maps": (
        nn.Sequential(nn.Conv2d(1, 4, 2), nn.LayerNorm((4, 2, 2)), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)), 1,
    ),
    "groups": (nn.Sequential(nn.Conv2d(1, 4, 2), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)), 1),
}  # fmt: skip


START = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}


@pytest.mark.parametrize("kind", NORMS)
def test_what_a_normalisation_holds_of_a_unit_is_made_new(kind: str) -> None:
    model, place = NORMS[kind]
    with torch.no_grad():
        for name in START:
            if isinstance(tensor := getattr(model[place], name, None), Tensor):
                tensor += 0.5
    layers = list(sequential(model).layers)
    before = state_of(model[place])
    reset_units(layers, {"net.0": torch.tensor([0.0, 1.0, 0.0, 0.5])}, [], seeded)
    after = model[place].state_dict()
    assert "weight" in after
    for name, start in START.items():
        if name in after:
            assert torch.equal(after[name][[0, 2]], before[name][[0, 2]])
            assert (after[name][1] == start).all()
            torch.testing.assert_close(after[name][3], (before[name][3] + start) / 2)


@pytest.mark.parametrize("kind", [torch.bool, torch.float64])
def test_amounts_may_be_of_any_type(kind: torch.dtype, wide: nn.Sequential) -> None:
    layers = list(sequential(wide).layers)
    expected = copy.deepcopy(wide)
    amounts = {layer.name: every(layer, 3) for layer in layers}
    reset_units(layers, {name: amount.to(kind) for name, amount in amounts.items()}, [], seeded)
    reset_units(list(sequential(expected).layers), amounts, [], seeded)
    assert_same(state_of(wide), state_of(expected))


def test_what_a_layer_draws_does_not_depend_on_the_others(wide: nn.Sequential) -> None:
    layers, drawn = list(sequential(wide).layers), []
    start = state_of(wide)
    for others in (0.0, 1.0):
        wide.load_state_dict(start)
        amounts = {"net.0": torch.full((40,), others), "net.1": every(layers[1], 2)}
        reset_units(layers, amounts, [], seeded, Surgery(outgoing="keep"))
        drawn.append(wide[2].weight.detach().clone())
    assert torch.equal(*drawn)


def test_double_precision_stays_double(wide: nn.Sequential) -> None:
    wide.double()
    layers = list(sequential(wide).layers)
    amounts = {layer.name: every(layer, 3) for layer in layers}
    means = {layer.name: torch.ones(layer.units) for layer in layers}
    reset_units(layers, amounts, [], seeded, Surgery(outgoing="small_random", compensate=True), means)
    assert all(parameter.dtype == torch.float64 for parameter in wide.parameters())
