"""Utilities over time: running means on minibatches, or a fresh sample."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from small_loop import Regression
from torch import Tensor, nn

from agents.plasticity import Update, criteria
from agents.plasticity.criteria import Criterion
from agents.plasticity.registry import CRITERIA
from agents.plasticity.resets.scorer import Scorer
from agents.plasticity.seeds import derive_seed
from agents.plasticity.units import UnitLayer

ZERO = torch.zeros(())


def generator(*parts: object) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(*parts))


def scorer_of(learner: Regression, criterion: str | dict[str, Any] = "gxd", **given: Any) -> Scorer:
    options = {} if isinstance(criterion, str) else dict(criterion)
    name = criterion if isinstance(criterion, str) else options.pop("name")
    settings = {
        "keep": 0.5, "averages": False, "compensates": False, "samples": None, "of_outputs": False,
        "generator": generator,
    }  # fmt: skip
    return Scorer(
        Criterion(name, CRITERIA[name].resolve(), options), learner, layers_of(learner), **{**settings, **given}
    )


def layers_of(learner: Regression) -> tuple[UnitLayer, ...]:
    return learner.networks["net"].layers


def update(step: int = 1, **taps: tuple[Tensor, Tensor]) -> Update:
    named = {name.replace("_", "."): seen for name, seen in taps.items()}
    return Update(("net",), None, {}, torch.optim.SGD([torch.zeros(1)]), 0.0, step, named)


@pytest.fixture
def learner() -> Regression:
    built = Regression(width=5)
    built.loss(built.module(built.x), built.y).mean().backward()
    return built


# ---------------------------------------------------------------------------------------------------- minibatches


def test_utilities_are_means_over_minibatches(learner: Regression) -> None:
    scorer = scorer_of(learner)
    first, second = layers_of(learner)
    seen = [(torch.rand(8, 5), torch.randn(8, 5)) for _ in range(2)]
    assert scorer.unscored == {"net.0", "net.1"}
    for tap in seen:
        assert scorer.watch(first, update(net_0=tap)).all()
    scores = [criteria.gxd(a, g, ZERO) for a, g in seen]
    found = scorer.utilities([first, second], {"net": 2})
    torch.testing.assert_close(found["net.0"], (scores[0] / 4 + scores[1] / 2) / 0.75)
    assert found["net.1"].isnan().all()
    assert scorer.unscored == {"net.1"}
    assert learner.samples == []


def test_where_a_minibatch_shows_nothing_there_is_no_score(learner: Regression) -> None:
    layer = layers_of(learner)[0]
    for name in ("gxd", "redo", "regrama_preactivation", "regrama_activation", "contribution"):
        scorer = scorer_of(learner, name, averages=True)
        assert scorer.watch(layer, update()) is None
        assert layer.name in scorer.unscored
    assert scorer_of(learner, "regrama").watch(layer, update()).all()  # that needs the weights' gradient alone
    layer.producer.weight.grad = None
    assert scorer_of(learner, "regrama").watch(layer, update()) is None


def test_what_is_not_finite_is_told_and_passed_over(learner: Regression) -> None:
    scorer, layer = scorer_of(learner, "redo"), layers_of(learner)[0]
    a = torch.ones(4, 5)
    scorer.watch(layer, update(net_0=(a, a)))
    bad = 3 * a
    bad[2, 1] = torch.nan
    assert scorer.watch(layer, update(net_0=(bad, a))).tolist() == [True, False, True, True, True]
    found = scorer.utilities([layer], {"net": 2})["net.0"]
    torch.testing.assert_close(found, torch.tensor([7 / 3, 1.0, 7 / 3, 7 / 3, 7 / 3]))


def test_regrama_scores_the_gradient_of_the_weights(learner: Regression) -> None:
    for normalize in (False, True):
        scorer = scorer_of(learner, {"name": "regrama", "normalize": normalize})
        for layer in layers_of(learner):
            scorer.watch(layer, update())
        found = scorer.utilities(layers_of(learner), {"net": 1})
        for layer in layers_of(learner):
            expected = criteria.regrama(layer.producer.weight.grad, normalize=normalize)
            torch.testing.assert_close(found[layer.name], expected)


def test_chance_has_a_generator_for_each_layer_and_step(learner: Regression) -> None:
    first, second = layers_of(learner)
    drawn = []
    for layer, step in ((first, 1), (first, 1), (first, 2), (second, 1)):
        scorer = scorer_of(learner, "random")
        scorer.watch(layer, update(step))
        drawn.append(scorer.utilities([layer], {"net": step})[layer.name])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[3])


# ---------------------------------------------------------------------------------------------------- means


def test_means_of_activations_are_references_where_the_surgery_compensates(learner: Regression) -> None:
    first, second = layers_of(learner)
    scorer = scorer_of(learner, averages=True, compensates=True)
    a, g = torch.rand(8, 5), torch.randn(8, 5)
    assert not scorer.means()["net.0"].any()  # nothing was seen yet
    scorer.watch(first, update(net_0=(a, g)))
    torch.testing.assert_close(scorer.means()["net.0"], a.mean(0))
    torch.testing.assert_close(scorer.references([first, second])["net.0"], a.mean(0))
    found = scorer.utilities([first], {"net": 1})["net.0"]
    torch.testing.assert_close(found, criteria.gxd(a, g, a.mean(0)))  # this minibatch counts in its own mean
    plain = scorer_of(learner, averages=True)
    plain.watch(first, update(net_0=(a, g)))
    assert {name: float(r) for name, r in plain.references([first, second]).items()} == {"net.0": 0.0, "net.1": 0.0}
    torch.testing.assert_close(plain.utilities([first], {"net": 1})["net.0"], criteria.gxd(a, g, ZERO))
    assert scorer_of(learner).means() == {}


def test_maps_have_a_mean_for_each_unit_or_for_each_position_that_is_read() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    learner = Regression(model=model, x=torch.randn(6, 1, 4, 4))
    scorer = scorer_of(learner, "contribution", averages=True)
    first, second = layers_of(learner)
    a, b = model[:2](learner.x).detach(), model[:4](learner.x).detach()
    assert scorer.watch(first, update(net_0=(a, a))).shape == (3,)
    assert scorer.watch(second, update(net_1=(b, b))).shape == (4,)
    means = scorer.means()
    torch.testing.assert_close(means["net.0"], a.mean((0, 2, 3)))
    torch.testing.assert_close(means["net.1"], b.mean(0).flatten(1))


def test_means_are_kept_beside_a_sample_too(learner: Regression) -> None:
    scorer, (first, _) = scorer_of(learner, averages=True, compensates=True, samples=64), layers_of(learner)
    a, g = torch.rand(8, 5), torch.randn(8, 5)
    assert scorer.watch(first, update(net_0=(a, g))) is None
    torch.testing.assert_close(scorer.means()["net.0"], a.mean(0))
    x = learner.x
    found = scorer.utilities([first], {"net": 1})["net.0"]
    sampled = learner.module[:2](x).detach().requires_grad_()
    loss = learner.loss(learner.module[2:](sampled), learner.y).mean()
    (gradient,) = torch.autograd.grad(loss, sampled)
    torch.testing.assert_close(found, criteria.gxd(sampled.detach(), gradient, a.mean(0)))


def test_new_units_are_forgotten(learner: Regression) -> None:
    scorer, (first, _) = scorer_of(learner, averages=True), layers_of(learner)
    a, g = torch.rand(8, 5), torch.randn(8, 5)
    scorer.watch(first, update(net_0=(a, g)))
    scorer.clear({"net.0": torch.tensor([True, False, False, True, False]), "elsewhere.0": torch.ones(2).bool()})
    assert scorer.utilities([first], {"net": 1})["net.0"].isnan().tolist() == [True, False, False, True, False]
    assert not scorer.means()["net.0"][[0, 3]].any()
    torch.testing.assert_close(scorer.means()["net.0"][1], a.mean(0)[1])


def test_tensors_are_all_that_must_be_saved(learner: Regression) -> None:
    one, other = (scorer_of(learner, averages=True, compensates=True) for _ in range(2))
    layers = layers_of(learner)
    one.watch(layers[0], update(net_0=(torch.rand(8, 5), torch.randn(8, 5))))
    assert one.tensors().keys() == other.tensors().keys()
    for key, tensor in one.tensors().items():
        other.tensors()[key].copy_(tensor)
    for left, right in ((one.means(), other.means()), (one.utilities(layers, {}), other.utilities(layers, {}))):
        assert all(torch.equal(tensor.nan_to_num(-1), right[name].nan_to_num(-1)) for name, tensor in left.items())
    assert one.means()["net.0"].any()


# ---------------------------------------------------------------------------------------------------- samples


def test_a_sample_is_drawn_anew_at_each_step(learner: Regression) -> None:
    drawn: list[list[int]] = []
    learner._sample = lambda n, generator: drawn.append(torch.randperm(64, generator=generator)[:n].tolist()) or drawn[
        -1
    ]  # fmt: skip
    scorer = scorer_of(learner, "redo", samples=10)
    for step in (1, 1, 2):
        scorer.utilities(layers_of(learner), {"net": step})
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(rows) == 10 for rows in drawn)
    found = scorer.utilities(layers_of(learner), {"net": 1})
    torch.testing.assert_close(found["net.0"], criteria.redo(learner.module[:2](learner.x[drawn[0]]).detach()))
    torch.testing.assert_close(found["net.1"], criteria.redo(learner.module[:4](learner.x[drawn[0]]).detach()))


@pytest.mark.parametrize("name", ["gxd", "regrama", "regrama_preactivation", "regrama_activation"])
def test_gradients_on_a_sample_are_those_of_its_mean_loss(learner: Regression, name: str) -> None:
    scorer = scorer_of(learner, name, samples=1000)  # there are 64: their order does not matter
    found = scorer.utilities(layers_of(learner), {"net": 1})
    reference = scorer_of(learner, name)
    a = learner.module[:2](learner.x).detach().requires_grad_()
    (g,) = torch.autograd.grad(learner.loss(learner.module[2:](a), learner.y).mean(), a)
    seen = replace(update(net_0=(a.detach(), g)), preactivation_grads={"net.0": g * (a > 0)})
    reference.watch(layers_of(learner)[0], seen)  # .grad is that of the mean loss
    expected = reference.utilities(layers_of(learner)[:1], {"net": 1})["net.0"]
    torch.testing.assert_close(found["net.0"], expected, rtol=1e-4, atol=1e-7)
    assert found["net.0"].shape == found["net.1"].shape == (5,)


# ---------------------------------------------------------------------------------------------------- outputs


def test_sensitivity_is_the_mean_over_outputs_of_the_criterion(learner: Regression) -> None:
    scorer = scorer_of(learner, samples=64, of_outputs=True)
    found = scorer.utilities(layers_of(learner), {"net": 1})
    head = learner.module[4].weight.detach()
    b = learner.module[:4](learner.x).detach()
    torch.testing.assert_close(found["net.1"], b.abs().mean(0) * head.abs().mean(0))
    expected = torch.zeros(5)
    a = learner.module[:2](learner.x).detach().requires_grad_()
    for column in range(3):
        (g,) = torch.autograd.grad(learner.module[2:](a)[:, column].mean(), a)
        expected += criteria.gxd(a.detach(), g, ZERO) / 3
    torch.testing.assert_close(found["net.0"], expected)


def test_weights_have_a_sensitivity_too(learner: Regression) -> None:
    found = scorer_of(learner, "regrama", samples=64, of_outputs=True).utilities(layers_of(learner), {"net": 1})
    expected = torch.zeros(5)
    for column in range(3):
        mean = learner.module(learner.x)[:, column].mean()
        expected += criteria.regrama(torch.autograd.grad(mean, learner.module[0].weight)[0]) / 3
    torch.testing.assert_close(found["net.0"], expected)


def test_sensitivities_of_several_networks_are_summed(learner: Regression) -> None:
    """Features that feed two heads matter for both; each head's mean is over its own outputs."""
    torch.manual_seed(1)
    other = nn.Linear(5, 7)
    learner.outputs = lambda rows: {
        "net": learner.module(learner.x[rows]), "other": other(learner.module[:4](learner.x[rows])),
    }  # fmt: skip

    def together(rows: Tensor) -> dict[str, Tensor]:
        hidden = learner.module[:4](learner.x[rows])
        return {"net": learner.module[4](hidden), "other": other(hidden)}

    learner.outputs = together
    found = scorer_of(learner, samples=64, of_outputs=True).utilities(layers_of(learner), {"net": 1})
    size = learner.module[:4](learner.x).detach().abs().mean(0)
    both = learner.module[4].weight.abs().mean(0) + other.weight.abs().mean(0)
    torch.testing.assert_close(found["net.1"], size * both.detach())
    assert found["net.0"].all()


def test_without_data_a_sample_cannot_be_drawn(learner: Regression) -> None:
    learner._sample = None
    with pytest.raises(LookupError, match="no data"):
        scorer_of(learner, "redo", samples=3).utilities(layers_of(learner), {"net": 1})
