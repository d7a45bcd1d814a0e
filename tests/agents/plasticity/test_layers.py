"""Activation functions of ours: what they put out, and that a unit's values are reset, seen and scored together."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from small_loop import ACTING, Regression
from torch import Tensor, nn

from agents.plasticity import registry
from agents.plasticity.criteria import CriterionInputs
from agents.plasticity.diagnostics.activations import dormant_ratio, fau
from agents.plasticity.layers import AID, CReLU, Fourier, SmoothLeaky, fold_of
from agents.plasticity.surgery import Surgery, reset_units
from agents.plasticity.taps import Taps
from agents.plasticity.units import Consumer, Network, TorchDefault, UnitLayer, sequential, traced

FOLDING = [CReLU, Fourier]


def model(activation: Any = CReLU) -> nn.Sequential:
    """A map whose channels are read, one that is flattened, and a last hidden layer."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 2), activation(), nn.Conv2d(6, 4, 2), activation(), nn.Flatten(),
        nn.Linear(32, 5), nn.LayerNorm(5), activation(), nn.Linear(10, 2),
    )  # fmt: skip


X = torch.randn(7, 2, 4, 4, generator=torch.Generator().manual_seed(1))


def test_crelu_splits_signs_and_fourier_puts_out_sines_and_cosines() -> None:
    z = torch.tensor([[1.0, -2.0, 0.0]])
    assert CReLU()(z).tolist() == [[1, 0, 0, 0, 2, 0]]
    assert torch.equal(Fourier()(z), torch.cat([torch.sin(z), torch.cos(z)], 1))
    maps = z.view(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert CReLU()(maps).shape == (1, 6, 2, 2)
    assert CReLU()(maps)[0, :, 1, 1].tolist() == [1, 0, 0, 0, 2, 0]
    assert (fold_of(CReLU), fold_of(Fourier()), fold_of(nn.ReLU), fold_of(nn.Fold(1, 1))) == (2, 2, 1, 1)


def test_one_of_a_units_two_waves_always_has_a_slope() -> None:
    z = torch.linspace(-9, 9, 1001, dtype=torch.double, requires_grad=True)
    out = Fourier()(z.view(-1, 1))
    sine, cosine = (torch.autograd.grad(out[:, k].sum(), z, retain_graph=True)[0] for k in (0, 1))
    assert torch.maximum(sine.abs(), cosine.abs()).min() >= 0.5**0.5 - 1e-9


def test_smooth_leaky_by_hand() -> None:
    z = torch.tensor([0.0, 3.0, -3.0, 60.0, -60.0], dtype=torch.double, requires_grad=True)
    out = SmoothLeaky()(z)
    gate = 1 / (1 + math.exp(-5.0))  # c z / p = 5 * 3 / 3
    assert out.tolist() == pytest.approx([0, 0.3 + 2.7 * gate, -0.3 - 2.7 * (1 - gate), 60, -6])
    (slope,) = torch.autograd.grad(out.sum(), z)
    assert slope[[0, 3, 4]].tolist() == pytest.approx([0.1 + 0.9 / 2, 1, 0.1])
    assert torch.equal(SmoothLeaky(slope=1)(z), z)
    with pytest.raises(ValueError, match=r"^steepness is 0; give a number above 0$"):
        SmoothLeaky(steepness=0)


def test_aid_keeps_signs_by_chance_and_their_mean_in_evaluation_mode() -> None:
    z = torch.tensor([2.0, -3.0, 0.0]).expand(20_000, 3).contiguous().requires_grad_()
    aid = AID(0.9)
    torch.manual_seed(0)
    drawn = aid(z)
    assert [sorted(set(column)) for column in drawn.T.tolist()] == [[0, 2], [-3, 0], [0]]
    assert drawn.mean(0).tolist() == pytest.approx([0.9 * 2, -0.1 * 3, 0], abs=0.03)
    (slope,) = torch.autograd.grad(drawn.sum(), z)
    assert torch.equal(slope[:, :2], (drawn[:, :2] != 0).float())  # what is dropped teaches nothing
    assert not torch.equal(drawn, aid(z))
    aid.eval()
    assert aid(z)[0].tolist() == pytest.approx([1.8, -0.3, 0])
    assert torch.equal(aid(z), aid(z))
    for p in (0.4, 1.1):
        with pytest.raises(ValueError, match=rf"^p is {p}; give a probability from 0.5 to 1$"):
            AID(p)


def test_aid_draws_with_its_probability_in_low_precision_too() -> None:
    torch.manual_seed(0)
    dropped = (AID(0.999)(torch.ones(100_000, dtype=torch.bfloat16)) == 0).sum()
    assert 60 < dropped < 140


@pytest.mark.parametrize("training", [True, False])
def test_aid_of_1_is_relu_and_draws_nothing(training: bool) -> None:
    z, state = torch.randn(50, 4), torch.get_rng_state()
    assert torch.equal(AID(1.0).train(training)(z), z.relu())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("activation", [AID, SmoothLeaky])
def test_units_behind_them_are_known_in_sequences_and_in_traces(activation: type[nn.Module]) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.RMSNorm(3), activation(), nn.Dropout(0.2), nn.Linear(3, 2))
    for network in (sequential(net), traced(net), traced(net, example=torch.randn(6, 4))):
        (layer,) = network.layers
        assert (layer.producer, layer.preactivation, layer.fold, layer.exact) == (net[0], net[1], 1, False)
        assert [tensor is net[1].weight for tensor, _ in layer.constants] == [True]


@pytest.mark.parametrize("activation", FOLDING)
def test_a_sequence_and_its_trace_give_the_same_graph(activation: Any) -> None:
    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model(activation)

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.inner:
                x = x.flatten(1) if isinstance(layer, nn.Flatten) else layer(x)
            return x

    def columns(network: Network) -> list[Any]:
        layers = [(layer.units, layer.fold, layer.positions) for layer in network.layers]
        return [layers, [(c.start, c.block, c.fold) for layer in network.layers for c in layer.consumers]]

    expected = [[(3, 2, 2), (4, 2, 8), (5, 2, 2)], [(0, 1, 2), (0, 4, 2), (0, 1, 2)]]
    assert columns(sequential(model(activation))) == expected
    assert columns(traced(Same())) == expected
    seen = traced(Same(), example=X)  # compared with what a change of each unit reaches
    assert seen.is_verified
    assert columns(seen) == expected
    assert seen.layers[2].preactivation is seen.module.inner[6]  # the norm


class Beside(nn.Module):
    """Two layers under one activation function."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.act, self.out = nn.Linear(4, 3), nn.Linear(4, 2), CReLU(), nn.Linear(10, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.act(torch.cat([self.one(x), self.two(x)], 1)))
        return out


class Twice(nn.Module):
    """Folded again, so that a unit has four values."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.act, self.again, self.out = nn.Linear(4, 3), CReLU(), Fourier(), nn.Linear(12, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.again(self.act(self.one(x))))
        return out


@pytest.mark.parametrize("kind", [Beside, Twice])
def test_units_that_are_folded_otherwise_are_refused(kind: type[nn.Module]) -> None:
    for example in (None, torch.randn(3, 4)):
        with pytest.raises(ValueError, match=r"out, Linear.*, reads what (CReLU|Fourier)\(\) makes of the units"):
            traced(kind(), example=example)


def test_what_reads_folded_units_must_be_as_wide() -> None:
    for layers in ([nn.Linear(4, 3), CReLU(), nn.Linear(3, 1)], [nn.Linear(4, 3), CReLU(), nn.Linear(7, 1)]):
        with pytest.raises(ValueError, match=r"inputs and cannot read 3 units of 2 values each from column 0 on"):
            sequential(nn.Sequential(*layers))
    with pytest.raises(ValueError, match=r"LayerNorm.* is not understood at this place"):
        sequential(nn.Sequential(nn.Linear(4, 3), CReLU(), nn.LayerNorm(6), nn.Linear(6, 1)))
    weight, act = torch.zeros(1, 6), CReLU()
    with pytest.raises(ValueError, match="one consumer reads 2 values of each unit and another 1; give all"):
        UnitLayer("net.0", "net", nn.Linear(4, 3), act, (Consumer(weight, fold=2), Consumer(weight)), TorchDefault())


def test_columns_outgoing_weights_and_means_by_hand() -> None:
    # Two units of two values at two positions: columns a0 a0 b0 b0 a1 a1 b1 b1 of one output.
    weight, bias = torch.arange(8.0).view(1, 8), torch.zeros(1)
    consumer = Consumer(weight, bias, block=2, fold=2)
    assert consumer.outgoing(2).tolist() == [[[0, 1, 4, 5]], [[2, 3, 6, 7]]]
    assert consumer.columns(torch.tensor([0.0, 1.0]))[1].tolist() == [[0, 0, 1, 1, 0, 0, 1, 1]]
    consumer.absorb(torch.tensor([0.0, 0.5]), torch.tensor([[9.0, 9, 9, 9], [1, 10, 100, 1000]]))
    assert bias.tolist() == [0.5 * (2 * 1 + 3 * 10 + 6 * 100 + 7 * 1000)]


@pytest.mark.parametrize("activation", FOLDING)
def test_a_reset_draws_one_row_and_zeroes_all_columns_of_a_unit(activation: Any) -> None:
    net = model(activation)
    network = sequential(net)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    amounts = {layer.name: torch.zeros(layer.units) for layer in network.layers}
    amounts["net.1"][2] = 1
    reset_units(network.layers, amounts, [], lambda layer: torch.Generator().manual_seed(4))
    now = net.state_dict()
    changed = {name for name in now if not torch.equal(now[name], before[name])}
    assert changed == {"2.weight", "2.bias", "5.weight"}
    rows = (now["2.weight"] != before["2.weight"]).flatten(1).all(1)
    assert rows.tolist() == [False, False, True, False]
    owned = [*range(8, 12), *range(16 + 8, 16 + 12)]  # the third channel's positions, and its second value's
    others = [column for column in range(32) if column not in owned]
    assert not now["5.weight"][:, owned].any()
    assert torch.equal(now["5.weight"][:, others], before["5.weight"][:, others])


def test_replacing_a_dead_unit_changes_no_output() -> None:
    net = nn.Sequential(nn.Linear(4, 3), CReLU(), nn.Linear(6, 5), CReLU(), nn.Linear(10, 2))
    network = sequential(net)
    assert all(layer.exact for layer in network.layers)
    with torch.no_grad():
        for layer, unit in ((net[0], 1), (net[2], 4)):
            layer.weight[unit], layer.bias[unit] = 0.0, 0.0
        x = torch.randn(9, 4)
        before = net(x)
        amounts = {"net.0": torch.tensor([0.0, 1, 0]), "net.1": torch.tensor([0.0, 0, 0, 0, 1])}
        reset_units(network.layers, amounts, [], lambda layer: torch.Generator().manual_seed(2))
        assert torch.equal(net(x), before)
        assert net[0](x)[:, 1].all()  # it lives


def test_compensation_keeps_the_mean_of_what_reads_the_units() -> None:
    for activation in FOLDING:
        net = model(activation)
        network = sequential(net)
        for layer, reader in zip(network.layers[1:], (5, 8), strict=True):
            with torch.no_grad(), Taps(network.layers) as taps:
                before = net[: reader + 1](X)
            means = {layer.name: layer.mean(taps.activations[layer.name])}
            amounts = {layer.name: torch.ones(layer.units)}
            generator = torch.Generator().manual_seed(2)
            reset_units([layer], amounts, [], lambda _, found=generator: found, Surgery(compensate=True), means)
            behind = net[reader](net[:reader](X))
            torch.testing.assert_close(behind.mean(0), before.mean(0), rtol=1e-4, atol=1e-5)


def test_criteria_take_a_units_values_together() -> None:
    """Two units: activations (1, 0) and (0, 2) in one sample, (3, 0) and (4, 0) in the other."""
    layer = sequential(nn.Sequential(nn.Linear(1, 2), CReLU(), nn.Linear(4, 1))).layers[0]
    with torch.no_grad():
        layer.consumers[0].weight.copy_(torch.tensor([[1.0, 2.0, -3.0, 4.0]]))
        layer.producer.weight.copy_(torch.tensor([[2.0], [0.5]]))
    a = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [4.0, 0.0]]])
    g = torch.tensor([[[1.0, -1.0], [2.0, 1.0]], [[-1.0, 1.0], [1.0, 1.0]]])
    inputs = CriterionInputs(
        layer, a=a, g=g, mean=layer.mean(a), reference=torch.zeros(()), weight_in_grad=torch.tensor([[1.0], [3.0]])
    )
    assert layer.mean(a).tolist() == [[2, 0], [2, 1]]

    def score(name: str, seen: CriterionInputs = inputs, **options: Any) -> list[float]:
        found: list[float] = registry.build("criterion", {"name": name, **options}).score(seen).tolist()
        return found

    assert score("gxd") == [1 + 3, 2 + 4]
    assert score("gxd", reduction="mean_abs") == [2, 6]
    # To the means: g (r - a) is 1*1 + -1*0 and -1*-1 + 1*0 of the first unit, 2*2 + 1*-1 and 1*-2 + 1*1 of the second
    assert score("gxd", CriterionInputs(layer, a=a, g=g, reference=layer.mean(a))) == [1 + 1, 3 + 1]
    assert score("redo") == [4 / 4, 6 / 4]
    assert score("contribution") == [(2 * 1 + 0 * 3) / 2, (2 * 2 + 1 * 4) / 2]
    assert score("magnitude") == [2 * 2, 0.5 * 3]
    assert score("regrama") == [1, 3]


def test_a_dead_unit_is_dormant_once_and_half_of_crelus_features_are_active() -> None:
    z = torch.tensor([[1.0, -1.0, 0.0], [2.0, 3.0, 0.0]])
    layer = sequential(nn.Sequential(nn.Linear(1, 3), CReLU(), nn.Linear(6, 1))).layers[0]
    with Taps([layer]) as taps:
        layer.tap(z)
    a = taps.activations["net.0"]
    assert a.shape == (2, 3, 2)
    assert float(dormant_ratio([a], 0.0)) == pytest.approx(1 / 3)
    assert float(fau([a[:, :2]])) == 0.5


@pytest.mark.parametrize("activation", FOLDING)
@pytest.mark.parametrize("kind", ["gxd", "cbp", "regrama"])
def test_resets_act_and_go_on_exactly(activation: Any, kind: str) -> None:
    def learner() -> Regression:
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(4, 12), activation(), nn.Linear(24, 8), activation(), nn.Linear(16, 3))
        return Regression([ACTING[kind]()], model=net)

    whole, half, other = learner(), learner(), learner()
    whole.train(18).train(18)
    half.train(18)
    other.module.load_state_dict(half.module.state_dict())
    other.load_state_dict(half.state_dict())
    other.train(18)
    assert whole.count() > 0
    assert whole.resets_at()[-1] > 18
    for ours, theirs in zip(other.module.parameters(), whole.module.parameters(), strict=True):
        assert torch.equal(ours, theirs)
