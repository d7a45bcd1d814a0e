"""Selective weight reinitialisation: which weights, how many, and what they become."""

from __future__ import annotations

import pytest
import torch
from small_loop import Regression
from torch import nn

from agents.plasticity import SWR, CChain, PlasticOptimizer


def changed(learner: Regression, before: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Which entries of each parameter are others than before."""
    return {name: p != before[name] for name, p in learner.parameters().items()}


def test_the_smallest_weights_are_drawn_anew() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 3))
    learner = Regression([SWR(rate=0.05, utility="magnitude", period=4)], model=model, rate=0.0)
    before = learner.parameters()
    learner.train(3)
    assert not any(mask.any() for mask in changed(learner, before).values())
    learner.train(1)  # 4 times .05 of 40, 10, 30 and 3 weights; of the last, .6
    found = changed(learner, before)
    counts = {name: int(mask.sum()) for name, mask in found.items()}
    assert counts == {"0.weight": 8, "0.bias": 2, "2.weight": 6, "2.bias": 0}
    weight = before["0.weight"].abs()
    assert weight[found["0.weight"]].max() <= weight[~found["0.weight"]].min()
    assert learner.metrics() == {"swr/net/weights": 16.0}
    assert learner.metrics() == {"swr/net/weights": 0.0}
    learner.train(4)
    assert learner.metrics() == {"swr/net/weights": 17.0}  # 1.2 of the last by now


def test_utility_is_the_running_mean_of_weight_times_gradient() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    intervention = SWR(period=100, decay=0.5, score_every=1)
    learner = Regression([intervention], model=model, rate=0.0)
    loss = learner.loss(model(learner.x), learner.y).mean()
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    products = [(p * g).abs().detach() for p, g in zip(model.parameters(), gradients, strict=True)]
    learner.train(2)
    for number, product in enumerate(products):
        torch.testing.assert_close(intervention.state_dict()[f"utility/net/{number}"], 0.75 * product)


def test_what_is_not_finite_enters_no_utility() -> None:
    intervention = SWR(period=100, decay=0.5, score_every=1)
    learner = Regression([intervention], rate=0.0)
    learner.train(1)
    learner.y[0] = torch.inf
    learner.train(1)
    assert all(held.isfinite().all() for key, held in intervention.state_dict().items() if key.startswith("utility"))


def test_networks_without_a_utility_wait_for_one() -> None:
    torch.manual_seed(0)
    networks = nn.ModuleDict({"a": nn.Linear(4, 30), "b": nn.Linear(4, 30)})
    optimizer = torch.optim.SGD(networks.parameters(), lr=0.0)
    intervention = SWR(rate=0.1, period=1, score_every=1)
    learner = PlasticOptimizer(optimizer, dict(networks.items()), [intervention])
    before = [module.weight.detach().clone() for module in networks.values()]
    with learner.forward():
        loss = networks["a"](torch.randn(8, 4)).square().mean()
    learner.step(loss)
    moved = [bool((m.weight != old).any()) for m, old in zip(networks.values(), before, strict=True)]
    assert moved == [True, False]
    other = SWR(rate=0.1, period=1, score_every=1)
    PlasticOptimizer(optimizer, dict(networks.items()), [other]).load_state_dict(learner.state_dict())
    assert other.state_dict()["scored"].tolist() == [True, False]


def test_new_weights_are_neither_the_lowest_nor_remembered() -> None:
    intervention = SWR(rate=0.05, period=2, score_every=1)
    learner = Regression([intervention])
    learner.train(1)
    before = learner.parameters()
    learner.train(1)
    utility = intervention.state_dict()["utility/net/2"]
    moment = learner.optimizers[0].state[learner.module[2].weight]["exp_avg"]
    new = moment == 0
    assert int(new.sum()) == 40  # 2 times .05 of 400
    assert (learner.module[2].weight.detach() != before["2.weight"]).all()  # the step, and the draw
    assert utility[new].min() == utility[new].max() > utility[~new].min()


def test_new_values_are_like_those_of_the_init() -> None:
    model = nn.Sequential(nn.Linear(100, 200), nn.LayerNorm(200), nn.ReLU(), nn.Linear(200, 3))
    learner = Regression([SWR(rate=1.0, utility="magnitude", period=1)], model=model, x=torch.randn(8, 100), rate=0.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7.0)
    learner.train(1)
    weight = model[0].weight.detach()
    assert float(weight.mean()) == pytest.approx(0.0, abs=2e-3)
    assert float(weight.std()) == pytest.approx(0.1 / 3**0.5, rel=0.02)  # uniform in +-1/sqrt(100)
    assert torch.equal(model[1].weight.detach(), torch.ones(200))
    assert torch.equal(model[1].bias.detach(), torch.zeros(200))


def test_frozen_weights_are_left_alone() -> None:
    learner = Regression([SWR(rate=0.1, utility="magnitude", period=1)], rate=0.0)
    learner.module[0].requires_grad_(False)
    before = learner.parameters()
    with pytest.warns(UserWarning, match=r"^swr: a part of net is left as it is, because its 0\.weight is frozen"):
        learner.train(1)
    found = changed(learner, before)
    assert not found["0.weight"].any()
    assert found["2.weight"].any()


def test_churn_is_not_compared_across_it() -> None:
    chain = CChain(coefficient=1.0, samples=16)
    learner = Regression([chain, SWR(rate=0.5, utility="magnitude", period=1)], rate=0.0)
    learner.train(1)
    learner.train(1)
    assert all(value == 0 for tag, value in learner.metrics().items() if tag.startswith("chain/"))


def test_a_rate_of_zero_is_none() -> None:
    learner, plain = Regression([SWR(rate=0.0, period=1)]).train(3), Regression().train(3)
    assert all(torch.equal(p, plain.parameters()[name]) for name, p in learner.parameters().items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": 2}, "rate is 2; give a share of weights per gradient step between 0 and 1"),
        ({"utility": "size"}, "utility is 'size'; give gradient or magnitude"),
        ({"decay": 1}, "decay is 1; give a factor from 0 to below 1"),
        ({"score_every": 0}, "score_every is 0; give a whole number of gradient steps of at least 1"),
        ({"period": 0}, "period is 0; give a whole number of gradient steps of at least 1"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SWR(**arguments)  # type: ignore[arg-type]
