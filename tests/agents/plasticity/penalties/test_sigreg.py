"""SIGReg: its term by hand, which layers it is of, and what it leaves alone."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from small_loop import Regression
from small_off_policy import ours
from small_ppo import build as build_ppo
from torch import Tensor, nn

from agents import PPO
from agents.plasticity import PlasticOptimizer, SIGReg, Update
from agents.plasticity.seeds import derive_seed

POINTS = [-5 + 10 * number / 7 for number in range(8)]


def term_of(intervention: SIGReg, learner: Regression, step: int = 1) -> Tensor:
    found = intervention.penalty(Update(("net",), None, {}, learner.optimizers[0], 0.0, step, network="net"))
    assert found is not None
    return found


def narrow(activation: nn.Module | None = None) -> nn.Sequential:
    """One unit: its representation lies on a line, on which all directions are the same or the opposite one."""
    return nn.Sequential(nn.Linear(4, 1), activation or nn.ReLU(), nn.Linear(1, 3))


def gap(values: list[float]) -> float:
    """The term of representations on a line."""
    total = 0.0
    for t in POINTS:
        real, imaginary = (sum(wave(t * z) for z in values) / len(values) for wave in (math.cos, math.sin))
        total += (real - math.exp(-t * t / 2)) ** 2 + imaginary**2
    return total / len(POINTS)


@pytest.mark.parametrize("inplace", [False, True])
def test_the_term_of_one_unit_is_that_of_what_goes_into_its_activation(inplace: bool) -> None:
    """All examples at 0, at -2, and one half at -2 and one at 1."""
    intervention = SIGReg(coefficient=0.5, every=1)
    x = torch.tensor([[-1.0, 0, 0, 0]] * 32 + [[0.5, 0, 0, 0]] * 32)
    learner = Regression([intervention], model=narrow(nn.ReLU(inplace)), x=x)
    weight, bias = learner.module[0].parameters()
    for slope, offset, values in ((0.0, 0.0, [0.0]), (0.0, -2.0, [-2.0]), (2.0, 0.0, [-2.0, 1.0])):
        nn.init.constant_(weight, slope)
        nn.init.constant_(bias, offset)
        assert float(term_of(intervention, learner).detach()) == pytest.approx(0.5 * gap(values), rel=1e-5)


def test_the_gradient_is_that_of_the_term() -> None:
    """Of z = b for all examples: the slope of mean_t (cos tb - e)^2 + sin^2 tb = mean_t 1 - 2 e cos tb + e^2."""
    intervention = SIGReg(coefficient=1.0, every=1)
    learner = Regression([intervention], model=narrow())
    nn.init.constant_(learner.module[0].weight, 0.0)
    nn.init.constant_(learner.module[0].bias, 0.7)
    term_of(intervention, learner).backward()
    expected = sum(2 * t * math.exp(-t * t / 2) * math.sin(t * 0.7) for t in POINTS) / 8
    assert float(learner.module[0].bias.grad) == pytest.approx(expected, rel=1e-5)
    assert all(p.grad is None or not p.grad.any() for p in learner.module[2].parameters())


def test_representations_are_projected_on_unit_directions() -> None:
    """Against the released code's formula, point by point, with the same directions."""
    intervention = SIGReg(coefficient=1.0, every=1)
    learner = Regression([intervention])
    found = term_of(intervention, learner, step=3)
    generator = torch.Generator().manual_seed(derive_seed(intervention._seed, "directions", "net", 3))
    directions = torch.randn(20, 16, generator=generator)
    z = learner.module[:3](learner.x)
    expected = torch.zeros(())
    for direction in directions.T:
        projected = z @ (direction / direction.norm())
        for t in POINTS:
            apart = (t * projected).cos().mean() - math.exp(-t * t / 2), (t * projected).sin().mean()
            expected = expected + (apart[0].square() + apart[1].square()) / (16 * 8)
    torch.testing.assert_close(found, expected)
    weights = [learner.module[place].weight for place in (0, 2)]
    for one, other in zip(torch.autograd.grad(found, weights), torch.autograd.grad(expected, weights), strict=True):
        torch.testing.assert_close(one, other)


def test_directions_are_new_at_every_step_and_the_global_generator_is_left_alone() -> None:
    intervention = SIGReg(every=1)
    learner = Regression([intervention])
    before = torch.get_rng_state()
    terms = [float(term_of(intervention, learner, step).detach()) for step in (1, 2, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert terms[0] == terms[2] != terms[1]


def test_it_draws_representations_to_a_gaussian() -> None:
    distances = {}
    for coefficient in (1e-9, 10.0):
        intervention = SIGReg(coefficient=coefficient)
        learner = Regression([intervention])
        for _ in range(100):
            learner.train(1)
        learner.metrics()
        distances[coefficient] = learner.train(20).metrics()["sigreg/net/distance"]
    assert distances[10.0] < 0.6 * distances[1e-9]
    assert Regression([SIGReg()]).metrics() == {}


def test_at_one_step_in_so_many_it_is_so_many_times_as_strong() -> None:
    terms = {}
    for every in (1, 4):
        intervention = SIGReg(every=every)
        learner = Regression([intervention])
        update = Update(("net",), None, {}, learner.optimizers[0], 0.0, 1, network="net")
        terms[every] = float(intervention.penalty(update).detach())  # type: ignore[union-attr]
        assert (intervention.penalty(Update(("other",), None, {}, learner.optimizers[0], 0.0, 1))) is None
        assert (intervention.penalty(replace(update, step=2)) is None) == (every == 4)
    assert terms[4] == pytest.approx(4 * terms[1])
    assert (SIGReg().every, SIGReg(paper=True).every) == (8, 1)


@pytest.mark.parametrize(("paper", "size"), [(False, 128), (True, 1024)])
def test_samples_are_no_larger_than_wanted(paper: bool, size: int) -> None:
    intervention = SIGReg(every=1, paper=paper)
    learner = Regression([intervention], batch_size=1024)
    term_of(intervention, learner)
    assert learner.samples == [size]


def test_it_goes_on_where_it_stood() -> None:
    learner, other = Regression([SIGReg(every=2)]), Regression([SIGReg(every=2)])
    learner.train(3)
    saved, module = copy.deepcopy(learner.state_dict()), learner.parameters()
    other.module.load_state_dict(module)
    other.load_state_dict(saved)
    learner.train(3), other.train(3)
    assert all(torch.equal(p, other.parameters()[name]) for name, p in learner.parameters().items())
    assert learner.metrics() == other.metrics() != {}


def test_a_coefficient_of_zero_is_none() -> None:
    learner, plain = Regression([SIGReg(coefficient=0.0)]).train(3), Regression().train(3)
    assert all(torch.equal(p, plain.parameters()[name]) for name, p in learner.parameters().items())
    assert (learner.metrics(), learner.samples) == ({}, [])


def held(model: object) -> dict[str, list[str]]:
    (intervention,) = model.interventions  # type: ignore[attr-defined]
    return {name: [layer.name for layer in layers] for name, layers in intervention._last.items()}


def test_last_hidden_layers_of_each_agent() -> None:
    assert held(build_ppo("mlp", PPO, interventions=[SIGReg()])) == {"actor": ["actor.1"], "critic": ["critic.1"]}
    found = held(build_ppo("board", PPO, interventions=[SIGReg()]))
    assert (list(found), [len(layers) for layers in found.values()]) == (["actor", "critic", "features"], [1, 1, 1])
    assert held(ours("dqn-mlp", interventions=[SIGReg()])) == {"critic": ["critic.1"]}
    twice = {"actor": ["actor.1"], "critic": ["critic.qf0.1", "critic.qf1.1"]}
    assert held(ours("sac-mlp", interventions=[SIGReg()])) == twice


@pytest.mark.parametrize("kind", ["dqn-norm-crelu", "sac-cnn-shared", "td3-mlp", "dqn-her"])
def test_each_network_has_its_term(kind: str) -> None:
    """None is forgotten, and all gradients are finite."""
    model = ours(kind, interventions=[SIGReg(every=1)]).learn(24)
    assert {tag.split("/")[1] for tag in model.hooks.metrics()} == set(model.networks)
    assert all(tensor.isfinite().all() for tensor in model.policy.parameters())


def test_loops_without_a_sample_and_activations_that_no_module_feeds_are_refused() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1))
    optimizer = PlasticOptimizer(torch.optim.Adam(module.parameters()), module, [SIGReg(every=1)])
    with optimizer.forward():
        loss = module(torch.ones(2, 4)).mean()
    with pytest.raises(ValueError, match="sigreg: it looks at a sample of the data, but PlasticOptimizer has no data"):
        optimizer.step(loss)
    with pytest.raises(ValueError, match="coefficient is -1; give a number of at least 0"):
        SIGReg(coefficient=-1)
    with pytest.raises(ValueError, match="every is 0; give a whole number of gradient steps of at least 1"):
        SIGReg(every=0)
    intervention = SIGReg()
    learner = Regression([intervention])
    network = learner.networks["net"]
    blind = tuple(replace(layer, preactivation=None) for layer in network.layers)
    learner.pose({"net": replace(network, layers=blind)})
    with pytest.raises(ValueError, match=r"sigreg: no module is known that puts out .* of net\.1; give its UnitLayer"):
        intervention.attach(learner)
