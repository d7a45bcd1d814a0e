"""Predicted and realised costs of resets, where both can be worked out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from policies import POLICIES
from small_loop import CaseLearner, Regression
from torch import Tensor, nn

from agents.plasticity import CPR, GXD, PlasticOptimizer, ReDo, ReGraMa, UnitReset, Update
from agents.plasticity.criteria import gxd
from agents.plasticity.layers import CReLU, Fourier, fold_of
from agents.plasticity.probing import probed
from agents.plasticity.resets import cost
from agents.plasticity.resets.cost import CostMeter
from agents.plasticity.surgery import reset_units
from agents.plasticity.units import sequential

ZERO = torch.zeros(())


def shallow(seed: int = 0, activation: Any = nn.Tanh) -> nn.Sequential:
    """One hidden layer, so that what its units do to the outputs is linear."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 12), activation(), nn.Linear(12 * fold_of(activation), 3))


def linear_loss(out: Tensor, y: Tensor) -> Tensor:
    """Linear in the outputs, with a sign of its own for each example: a first order is exact, also in the mean."""
    return (out * y).sum(1)


def half(**arguments: Any) -> UnitReset:
    """Resets half of the units by chance at every second step."""
    settings = {"criterion": "random", "selection": {"name": "percentage", "share": 0.5}, "period": 2, "maturity": 0}
    return UnitReset(**{**settings, "score_every": 1, **arguments})


def numbers(reset: UnitReset) -> dict[str, float]:
    """What the cost meter logs."""
    return {
        key.removeprefix(f"{reset.name}/"): value
        for key, value in reset.metrics().items()
        if not key.endswith(("no_signal", "not_finite"))
    }


SURGERIES: list[dict[str, Any]] = [{}, {"compensate": True}, {"compensate": True, "targets": "sync"}]


@pytest.mark.parametrize("activation", [nn.Tanh, CReLU, Fourier])
@pytest.mark.parametrize("surgery", SURGERIES)
def test_where_a_first_order_is_exact_prediction_is_reality(surgery: dict[str, Any], activation: Any) -> None:
    """Of a last hidden layer before outputs that the loss is linear in."""
    reset = half(surgery=surgery)
    learner = Regression([reset], model=shallow(activation=activation), loss=linear_loss, rate=0.0)
    fold = fold_of(activation)
    with torch.no_grad():
        a = learner.module[:2](learner.x)
        before = learner.module(learner.x)
        loss = linear_loss(before, learner.y)
    g = learner.y @ learner.module[2].weight.detach() / 64
    if fold > 1:  # unit i owns columns i and 12 + i
        a, g = (torch.stack([columns[:, :12], columns[:, 12:]], 2) for columns in (a, g))
    learner.train(2)
    with torch.no_grad():
        change = linear_loss(learner.module(learner.x), learner.y) - loss
        outputs = (learner.module(learner.x) - before).abs().mean()
    units = learner.units("net.0")
    assert len(units) == 6
    found = numbers(reset)
    reference = a.mean(0) if surgery else ZERO  # per unit, and per value
    utilities = gxd(a, g, reference)
    close = {"rel": 1e-5, "abs": 1e-6}
    assert found["predicted_change"] == pytest.approx(found["realised_change"], **close)
    assert found["realised_change"] == pytest.approx(float(change.mean()), **close)
    assert abs(found["realised_change"]) > 1e-3
    assert found["realised_cost"] == pytest.approx(float(change.abs().mean()), **close)
    assert found["predicted_cost"] == pytest.approx(found["realised_cost"], **close)
    assert found["unit_costs"] == pytest.approx(float(utilities[units].sum()), **close)
    assert found["unit_costs"] > 1.2 * found["predicted_cost"]  # units of opposite sign cancel
    assert found["net/predicted_cost"] == found["predicted_cost"]
    assert found["net/unit_costs"] == found["unit_costs"]
    assert found["net/output_change"] == pytest.approx(float(outputs), **close)
    assert set(found) == {
        "predicted_cost", "predicted_change", "unit_costs", "realised_cost", "realised_change", "net/predicted_cost",
        "net/unit_costs", "net/output_change",
    }  # fmt: skip


class Pair:
    """Two networks of one hidden layer each; their losses are linear in what the hidden units put out.

    On x = 1 and x = -1 the first one's two units put out (1, 2) and (-1, -2), with weights 3 and 1 in its loss; the
    second one's unit puts out 4 and -4, with weight -1 on the first example and 2 on the second.
    """

    seed, num_timesteps, optimizer_steps, targets, optimizers = 0, 0, 0, {}, ()
    device = torch.device("cpu")

    def __init__(self, *, shared: bool) -> None:
        self.shared = shared
        self.one, self.two = (nn.Sequential(nn.Linear(1, n), nn.LeakyReLU(1.0), nn.Linear(n, 1)) for n in (2, 1))
        with torch.no_grad():
            for module in (self.one, self.two):
                for parameter in module.parameters():
                    parameter.zero_()
            self.one[0].weight.copy_(torch.tensor([[1.0], [2.0]]))
            self.one[2].weight.copy_(torch.tensor([[3.0, 1.0]]))
            self.two[0].weight.fill_(4.0)
            self.two[2].weight.fill_(1.0)
        self.networks = {"one": sequential(self.one, "one"), "two": sequential(self.two, "two")}
        self.x, self.signs = torch.tensor([[1.0], [-1.0]]), torch.tensor([-1.0, 2.0])

    def td_targets(self, batch: Any) -> None:
        return None

    def outputs(self, batch: Any) -> dict[str, Tensor]:
        return {"one": self.one(self.x), "two": self.two(self.x)}

    def sample_losses(self, batch: Any, td_targets: Any = None) -> dict[str, Tensor]:
        one, two = self.one(self.x).flatten(), self.signs * self.two(self.x).flatten()
        return dict.fromkeys(self.networks, one + two) if self.shared else {"one": one, "two": two}


@pytest.mark.parametrize("shared", [False, True])
def test_costs_by_hand(shared: bool) -> None:
    """All units are zeroed. On the two examples their activations' parts of the loss, which they take along, are:

    first network  3 * 1 and 1 * 2, together 5     3 * -1 and 1 * -2, together -5
    second         -1 * 4 = -4                     2 * -4 = -8
    """
    pair = Pair(shared=shared)
    meter = CostMeter(pair, ["one", "two"])
    layers = [layer for network in pair.networks.values() for layer in network.layers]
    amounts = {layer.name: torch.ones(layer.units) for layer in layers}
    before = meter.before(None)
    reset_units(layers, amounts, (), lambda layer: torch.Generator())
    meter.after(None, before, layers, amounts, dict.fromkeys(amounts, ZERO))
    assert meter.read() == {
        "predicted_cost": (abs(-5 + 4) + abs(5 + 8)) / 2, "predicted_change": (-5 + 4 + 5 + 8) / 2,
        "unit_costs": (3 + 3) / 2 + (2 + 2) / 2 + (4 + 8) / 2,
        "realised_cost": 7, "realised_change": 6,
        "one/predicted_cost": 5, "one/unit_costs": 5, "two/predicted_cost": 6, "two/unit_costs": 6,
        "one/output_change": 5, "two/output_change": 4,
    }  # fmt: skip
    assert not any(meter.read().values())


def test_one_unit_alone_costs_what_its_utility_says() -> None:
    """For a single unit the mean absolute change of the loss is the utility itself."""
    reset = GXD(rate=0.05, period=2, maturity=0, score_every=1)
    learner = Regression([reset], model=shallow(), loss=linear_loss, rate=0.0, width=12)
    learner.train(2)
    assert learner.count() == 1  # .05 of 12 in each of 2 steps
    found = numbers(reset)
    assert found["predicted_cost"] == pytest.approx(found["realised_cost"], rel=1e-5)
    assert found["predicted_cost"] > 0


def test_a_part_of_a_unit_costs_that_part() -> None:
    """Of a unit that keeps (1-p) of its outgoing weights and of its activation, here with incoming weights as drawn."""
    reset = CPR(rate=0.5, period=1, score_every=1)
    learner = Regression([reset], model=shallow(), loss=linear_loss, rate=0.0)
    with torch.no_grad():
        a = learner.module[:2](learner.x)
    g = learner.y @ learner.module[2].weight.detach() / 64
    learner.train(1)
    amounts = learner.edits[0][1].amounts["net.0"]
    assert 0 < amounts.min() < amounts.max() <= 0.5
    found = numbers(reset)
    assert found["unit_costs"] == pytest.approx(float((gxd(a, g, ZERO) * amounts).sum()), rel=1e-5)
    assert found["predicted_cost"] == pytest.approx(float((a * g * amounts).sum(1).abs().sum()), rel=1e-5)


MAPS = nn.Sequential(nn.Conv2d(2, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(32, 3))


@pytest.mark.parametrize(("model", "shape"), [(shallow(), (4,)), (MAPS, (2, 4, 4))])
def test_with_kept_outgoing_weights_the_reference_is_what_the_unit_puts_out_now(
    model: nn.Sequential, shape: tuple[int, ...]
) -> None:
    reset = ReGraMa(tau=1.0, cap=0.5, outgoing="keep", period=2, maturity=0, score_every=1)
    learner = Regression([reset], model=model, x=torch.randn(64, *shape), loss=linear_loss, rate=0.0)
    learner.train(2)
    assert learner.count() > 0
    found = numbers(reset)
    assert found["predicted_change"] == pytest.approx(found["realised_change"], rel=1e-4, abs=1e-6)
    assert found["predicted_cost"] == pytest.approx(found["realised_cost"], rel=1e-4, abs=1e-6)
    assert abs(found["realised_change"]) > 1e-4


def test_of_a_flattened_map_the_costs_of_positions_are_summed_first() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(2, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(32, 3))
    reset = half(surgery={"compensate": True})
    learner = Regression([reset], model=model, x=torch.randn(64, 2, 4, 4), loss=linear_loss, rate=0.0)
    with torch.no_grad():
        a = model[:2](learner.x)
    g = (learner.y @ model[3].weight.detach()).view_as(a) / 64
    learner.train(2)
    found = numbers(reset)
    utilities = gxd(a, g, a.mean(0).flatten(1))
    assert found["unit_costs"] == pytest.approx(float(utilities[learner.units("net.0")].sum()), rel=1e-5)
    assert found["predicted_cost"] == pytest.approx(found["realised_cost"], rel=1e-4, abs=1e-6)
    assert found["predicted_change"] == pytest.approx(found["realised_change"], rel=1e-4, abs=1e-6)
    assert abs(found["realised_change"]) > 1e-4


def test_a_reset_that_costs_nothing_is_said_to_cost_nothing() -> None:
    learner = Regression([ReDo(tau=0.0, period=1)], rate=0.0)
    with torch.no_grad():
        learner.module[2].bias[[3, 8]] = -100.0
    learner.train(1)
    assert learner.count() >= 2
    assert set(numbers(learner.interventions[0]).values()) == {0.0}


# ---------------------------------------------------------------------------------------------------- sums and rows


def test_sums_go_over_the_resets_since_the_last_row() -> None:
    rows = []
    for read_between in (True, False):
        reset = half(period=1000)
        learner = Regression([reset], rate=0.0)
        found = []
        for last in (1000, 2000):
            reset.after_backward(Update(("net",), None, {}, learner.optimizers[0], 0.0, last - 1, taps_of(learner)))
            reset.after_backward(Update(("net",), None, {}, learner.optimizers[0], 0.0, last, taps_of(learner)))
            reset.after_update()
            if read_between:
                found.append(numbers(reset))
        rows.append(found or [numbers(reset)])
        assert set(numbers(reset).values()) == {0.0}
        assert len(learner.edits) == 2
    (first, second), (both,) = rows
    assert all(first[key] != 0 and second[key] != 0 for key in first)
    for key, value in both.items():
        assert value == pytest.approx(first[key] + second[key], rel=1e-5)


def taps_of(learner: Regression) -> Mapping[str, tuple[Tensor, Tensor]]:
    seen = probed(learner, torch.arange(64))
    return {name: (a, seen.gradients[name]) for name, a in seen.activations.items()}


def test_sums_are_saved() -> None:
    reset, other = half(), half()
    learner = Regression([reset]).train(2)
    assert learner.count() > 0
    Regression([other])
    other.load_state_dict(reset.state_dict())
    expected = numbers(reset)
    assert expected["predicted_cost"] > 0
    assert numbers(other) == expected
    assert set(numbers(reset).values()) == {0.0}


@pytest.mark.parametrize(("period", "expected"), [(1, [1, 20, 40]), (6, [6, 24, 42]), (20, [20, 40])])
def test_costs_are_measured_at_most_once_in_a_thousand_steps(
    period: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With twenty in the thousand's place."""
    assert cost.COST_EVERY == 1000
    monkeypatch.setattr(cost, "COST_EVERY", 20)
    learner = Regression([half(period=period)])
    measured = []
    monkeypatch.setattr(CostMeter, "before", lambda meter, batch: measured.append(learner.optimizer_steps))
    for _ in range(43):
        learner.train(1)
    assert len(learner.edits) == 43 // period
    assert measured == expected
    assert len(learner.samples) == len(expected)


def test_without_data_nothing_is_measured_and_resets_act() -> None:
    model = shallow()
    reset = GXD(rate=0.2, period=1, maturity=0, score_every=1)
    optimizer = PlasticOptimizer(torch.optim.Adam(model.parameters()), model, [reset])
    with optimizer.forward():
        loss = model(torch.randn(8, 4)).square().mean()
    optimizer.step(loss)
    assert optimizer.units_reset() == {"net": 2}
    assert set(numbers(reset).values()) == {0.0}


def test_measuring_changes_nothing() -> None:
    found = []
    for data in (True, False):
        reset = half()
        learner = Regression([reset])
        if not data:
            learner._sample = None
        learner.train(5)
        found.append(learner.parameters())
        assert (numbers(reset)["predicted_cost"] > 0) == data
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())


@pytest.mark.parametrize("kind", [kind for kind in POLICIES if "norm" not in kind and "impala" not in kind])
def test_every_policy_is_measured(kind: str) -> None:
    case = POLICIES[kind]()
    reset = half(period=4)
    learner = CaseLearner(case, [reset])
    learner.train(4)
    found = numbers(reset)
    hidden = [name for name, network in case.networks.items() if network.layers]
    for name in hidden:
        assert found[f"{name}/predicted_cost"] > 0
    assert found["unit_costs"] == pytest.approx(sum(found[f"{name}/unit_costs"] for name in hidden), rel=1e-5)
    parts = sum(found[f"{name}/predicted_cost"] for name in hidden)
    assert found["predicted_cost"] <= parts * 1.00001 <= found["unit_costs"] * 1.00002
    assert found["realised_cost"] > 0
    assert abs(found["realised_change"]) <= found["realised_cost"] * 1.001
    with_outputs = {name for name, n in case.networks.items() if any(part.height == 0 for part in n.parts)}
    assert {key.split("/")[0] for key in found if key.endswith("output_change")} == with_outputs
