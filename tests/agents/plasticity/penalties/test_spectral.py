"""Spectral regularisation: values and gradients by the singular value decomposition."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_loop import Regression
from torch import Tensor, nn

from agents.plasticity import FullReset, Spectral, Update


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 8),
        nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2),
    ).double()  # fmt: skip


def attached(model: nn.Module, **arguments: object) -> tuple[Spectral, Update]:
    """Of a model that has moved since."""
    intervention = Spectral(**{"coefficient": 0.5, "every": 1, **arguments})  # type: ignore[arg-type]
    learner = Regression([intervention], model=model, x=torch.randn(8, 1, 3, 3, dtype=torch.float64))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.3).add_(0.01)
    return intervention, Update(("net",), None, {}, learner.optimizers[0], 0.0, 1)


def settled(intervention: Spectral, update: Update) -> Tensor:
    """The term when the power method has found the vectors."""
    for _ in range(400):
        term = intervention.penalty(update)
    assert term is not None
    return term


def exact(model: nn.Module, start: dict[str, Tensor], k: int, paper: bool, heads: bool = True) -> Tensor:
    terms = []
    for name, parameter in model.named_parameters():
        if not heads and name.startswith("10."):
            continue
        if parameter.dim() > 1:
            target = 1.0 if paper else torch.linalg.matrix_norm(start[name].flatten(1), 2)
            terms.append((torch.linalg.matrix_norm(parameter.flatten(1), 2) ** k - target**k).square())
        else:
            terms.append((parameter - (1.0 if name == "4.weight" else 0.0)).norm() ** (2 * k))
    return 0.5 * torch.stack(terms).sum()


@pytest.mark.parametrize(
    ("paper", "k", "heads"), [(True, 1, True), (True, 2, False), (False, 1, False), (False, 2, True)]
)
def test_value_and_gradient_are_those_of_the_decomposition(k: int, paper: bool, heads: bool) -> None:
    model = network()
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    intervention, update = attached(model, power=k, paper=paper, output_layers=heads)
    term = settled(intervention, update)
    expected = exact(model, start, k, paper, heads)
    assert float(term.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    held = [p for name, p in model.named_parameters() if heads or not name.startswith("10.")]
    for one, other in zip(torch.autograd.grad(term, held), torch.autograd.grad(expected, held), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_at_the_start_there_is_nothing_to_hold() -> None:
    model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False))
    intervention = Spectral(coefficient=1.0, every=1)
    learner = Regression([intervention], model=model)
    term = intervention.penalty(Update(("net",), None, {}, learner.optimizers[0], 0.0, 1))
    assert term is not None
    assert float(term.detach()) == pytest.approx(0.0, abs=1e-5)


def test_it_holds_what_would_grow() -> None:
    found = []
    for coefficient in (0.0, 0.1):
        learner = Regression([Spectral(coefficient=coefficient)], rate=0.02)
        for _ in range(100):
            learner.train(1)
        found.append([float(torch.linalg.matrix_norm(learner.module[place].weight.detach(), 2)) for place in (0, 2, 4)])
    start = [float(torch.linalg.matrix_norm(Regression().module[place].weight.detach(), 2)) for place in (0, 2, 4)]
    free, held = (max(abs(a - b) for a, b in zip(sigmas, start, strict=True)) for sigmas in found)
    assert held < 0.5 * free


def test_layers_of_one_shape_have_vectors_of_their_own() -> None:
    model = network()
    intervention, update = attached(model)
    settled(intervention, update)
    for number, place in enumerate((0, 3, 6, 8, 10)):
        left = torch.linalg.svd(model[place].weight.detach().flatten(1)).U[:, 0]
        found = intervention.state_dict()[f"vector/net/{number}"]
        assert abs(float(found @ left)) == pytest.approx(1.0, abs=1e-4)


def test_what_is_drawn_anew_has_a_new_target() -> None:
    intervention = Spectral()
    learner = Regression([intervention, FullReset(period=2)])
    before = intervention.state_dict()["target/net/0"]
    learner.train(2)
    target = intervention.state_dict()["target/net/0"]
    assert not torch.equal(target, before)
    assert float(target) == pytest.approx(
        float(torch.linalg.matrix_norm(learner.module[0].weight.detach(), 2)), rel=1e-2
    )


def test_at_one_step_in_so_many_it_is_so_many_times_as_strong() -> None:
    terms = {}
    for every in (1, 4):
        intervention, update = attached(network(), every=every)
        found = [intervention.penalty(replace(update, step=step)) for step in range(1, 13)]
        terms[every] = [float(term.detach()) for term in found if term is not None]
    assert (len(terms[1]), len(terms[4])) == (12, 3)
    assert terms[4][0] == pytest.approx(4 * terms[1][0])
    assert (Spectral().every, Spectral(paper=True).every) == (4, 1)


def test_a_coefficient_of_zero_is_none() -> None:
    learner, plain = Regression([Spectral(coefficient=0.0)]).train(3), Regression().train(3)
    assert all(torch.equal(p, plain.parameters()[name]) for name, p in learner.parameters().items())
    assert learner.metrics() == {}


def test_the_log_has_the_largest_singular_value() -> None:
    learner = Regression([Spectral()]).train(3)
    largest = max(float(torch.linalg.matrix_norm(learner.module[place].weight.detach(), 2)) for place in (0, 2, 4))
    assert learner.metrics()["spectral/net/largest_sigma"] == pytest.approx(largest, rel=1e-2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coefficient": -1}, "coefficient is -1; give a number of at least 0"),
        ({"power": 0}, "power is 0; give a whole number of at least 1"),
        ({"every": 0}, "every is 0; give a whole number of gradient steps of at least 1"),
        ({"power": 1.5}, "power is 1.5; give a whole number of at least 1"),
    ],
)
def test_impossible_numbers_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Spectral(**arguments)  # type: ignore[arg-type]
