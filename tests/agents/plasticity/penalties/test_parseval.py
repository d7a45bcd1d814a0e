"""Parseval regularisation against autograd, and what is left alone."""

from __future__ import annotations

import math

import pytest
import torch
from small_loop import Regression
from torch import Tensor, nn

from agents.plasticity import Parseval, Update
from agents.plasticity.units import sequential
from agents.plasticity.units.inits import Orthogonal


def term_of(intervention: Parseval, learner: Regression, step: int = 1) -> Tensor | None:
    return intervention.penalty(Update(("net",), None, {}, learner.optimizers[0], 0.0, step))


def model() -> nn.Sequential:
    """Layers with more units than inputs, as many, and fewer."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2), nn.ReLU(), nn.Linear(2, 3)
    )


@pytest.mark.parametrize("paper", [True, False])
def test_value_and_gradient_are_autograds(paper: bool) -> None:
    intervention = Parseval(coefficient=0.3, every=1, paper=paper)
    learner = Regression([intervention], model=model())
    weights = [learner.module[place].weight for place in (0, 2, 4)]
    expected = torch.zeros(())
    for weight in weights:
        rows, columns = weight.shape
        turned = not paper and rows > columns
        gram = weight.T @ weight if turned else weight @ weight.T
        # Torch draws them with a variance of 1 / (3 * fan_in); the longer side has so many entries.
        square = 2.0 if paper else max(rows, columns) / (3 * columns)
        expected = expected + 0.3 * (64 / rows) ** 2 * (gram - square * torch.eye(len(gram))).square().sum()
    term = term_of(intervention, learner)
    assert term is not None
    torch.testing.assert_close(term, expected)
    for one, other in zip(torch.autograd.grad(term, weights), torch.autograd.grad(expected, weights), strict=True):
        torch.testing.assert_close(one, other)


def test_orthogonal_layers_have_nothing_to_hold() -> None:
    """Of a gain of sqrt(2), for which s = 2 is published."""
    intervention = Parseval(every=1)
    learner = Regression([intervention], model=model())
    for place in (0, 2, 4, 6):
        nn.init.orthogonal_(learner.module[place].weight, math.sqrt(2))
    learner.pose({"net": sequential(learner.module, init=Orthogonal(math.sqrt(2)))})  # type: ignore[arg-type]
    intervention.attach(learner)
    term = term_of(intervention, learner)
    assert float(term.detach()) == pytest.approx(0.0, abs=1e-6)  # type: ignore[union-attr]


def test_it_draws_layers_to_orthogonal_ones() -> None:
    distances = {}
    for coefficient in (1e-9, 1.0):
        intervention = Parseval(coefficient=coefficient, every=2)
        learner = Regression([intervention])
        for _ in range(50):
            learner.train(1)
        distances[coefficient] = learner.metrics()["parseval/net/distance"]
    assert distances[1.0] < 0.5 * distances[1e-9]


def test_at_one_step_in_so_many_it_is_so_many_times_as_strong() -> None:
    terms = {}
    for every in (1, 4):
        intervention = Parseval(every=every)
        learner = Regression([intervention])
        found = [term_of(intervention, learner, step) for step in range(1, 13)]
        terms[every] = [float(term.detach()) for term in found if term is not None]
    assert (len(terms[1]), len(terms[4])) == (12, 3)
    assert terms[4][0] == pytest.approx(4 * terms[1][0])
    assert (Parseval().every, Parseval(paper=True).every) == (4, 1)


def test_frozen_layers_have_no_term_and_are_told_once() -> None:
    intervention = Parseval(every=1)
    learner = Regression([intervention])
    learner.module[0].requires_grad_(False)
    with pytest.warns(UserWarning, match=r"^parseval: a part of the networks is left .* its 0\.weight is frozen"):
        term = term_of(intervention, learner)
    assert term is not None
    assert all(p.grad is None for p in learner.module[0].parameters())
    learner.module[2].requires_grad_(False)
    assert term_of(intervention, learner) is None


def test_a_coefficient_of_zero_is_none() -> None:
    learner, plain = Regression([Parseval(coefficient=0.0)]).train(3), Regression().train(3)
    assert all(torch.equal(p, plain.parameters()[name]) for name, p in learner.parameters().items())
    assert learner.metrics() == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coefficient": -1}, "coefficient is -1; give a number of at least 0"),
        ({"every": 0}, "every is 0; give a whole number of gradient steps of at least 1"),
    ],
)
def test_impossible_numbers_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Parseval(**arguments)  # type: ignore[arg-type]


def test_networks_without_hidden_linear_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="parseval: net has no hidden linear layer; give it one with net_arch"):
        Regression([Parseval()], model=nn.Sequential(nn.Linear(4, 3)))
