"""L2-Init: closed forms, anchors that follow resets, and what is left alone."""

from __future__ import annotations

import pytest
import torch
from small_loop import Regression
from torch import Tensor, nn

from agents.plasticity import GXD, FullReset, L2Init, PlasticOptimizer


def still(coefficient: float, decoupled: bool, steps: int, rate: float = 0.1) -> tuple[nn.Linear, dict[str, Tensor]]:
    """A layer that has moved by 1 and has no gradient, after some steps of gradient descent; where it began."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    descent = torch.optim.SGD(model.parameters(), lr=rate)
    optimizer = PlasticOptimizer(descent, model, [L2Init(coefficient=coefficient, decoupled=decoupled)])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    for _ in range(steps):
        with optimizer.forward():
            loss = 0 * model(torch.zeros(1, 2)).sum()
        optimizer.step(loss)
    return model, start


@pytest.mark.parametrize("steps", [1, 5])
def test_apart_from_the_loss_it_is_the_closed_form(steps: int) -> None:
    """METHODS 15.22: theta - theta_0 shrinks by 1 - lr * coefficient at every step."""
    model, start = still(2.0, True, steps)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach() - start[name], torch.full_like(parameter, 0.8**steps))


def test_in_the_loss_it_draws_twice_as_hard() -> None:
    """The gradient of coefficient * |theta - theta_0|^2 is 2 * coefficient * (theta - theta_0)."""
    model, start = still(2.0, False, 2)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach() - start[name], torch.full_like(parameter, 0.6**2))


def test_the_term_is_the_sum_of_squares() -> None:
    intervention = L2Init(coefficient=0.5, decoupled=False)
    learner = Regression([intervention])
    start = learner.parameters()
    learner.train(3)
    expected = 0.5 * sum((p - start[name]).square().sum() for name, p in learner.module.named_parameters())
    update = type("U", (), {"networks": ("net",), "optimizer": learner.optimizers[0]})()
    term = intervention.penalty(update)
    assert term is not None
    torch.testing.assert_close(term, expected.detach() if isinstance(expected, Tensor) else expected)
    found = torch.autograd.grad(term, list(learner.module.parameters()))
    exact = torch.autograd.grad(expected, list(learner.module.parameters()))  # type: ignore[arg-type]
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one, other)


def test_anchors_follow_resets() -> None:
    gxd, drawn = GXD(rate=0.1, period=2, maturity=0, score_every=1), L2Init(coefficient=1.0)
    learner = Regression([gxd, drawn])
    start = learner.parameters()
    learner.train(2)
    units = learner.units("net.0")
    assert 0 < len(units) < 20
    state, weight = drawn.state_dict(), learner.module[0].weight
    for unit in range(20):
        assert torch.equal(state["anchor/net/0"][unit], (weight if unit in units else start["0.weight"])[unit])


def test_whole_networks_that_are_drawn_anew_begin_there() -> None:
    drawn = L2Init(coefficient=1.0)
    learner = Regression([drawn, FullReset(period=2)]).train(2)
    assert drawn.metrics() == {"net/distance": 0.0}
    assert all(
        torch.equal(anchor, p)
        for anchor, p in zip(drawn.state_dict().values(), learner.module.parameters(), strict=True)
    )


def test_normalisations_are_left_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 3))
    drawn = L2Init(coefficient=1.0)
    Regression([drawn], model=model)
    assert [tuple(anchor.shape) for anchor in drawn.state_dict().values()] == [(6, 4), (6,), (3, 6), (3,)]


def test_a_module_that_was_replaced_has_new_anchors() -> None:
    drawn = L2Init(coefficient=1.0)
    learner = Regression([drawn]).train(2)
    start = learner.parameters()
    head = nn.Linear(20, 3)
    fresh = head.weight.detach().clone()
    learner.optimizers[0].add_param_group({"params": list(head.parameters())})
    learner.module[4] = head
    learner.train(1)
    state = drawn.state_dict()
    assert torch.equal(state["anchor/net/4"], fresh)
    assert not torch.equal(state["anchor/net/0"], start["0.weight"])  # those of the others have stayed


@pytest.mark.parametrize("decoupled", [True, False])
def test_a_coefficient_of_zero_is_none(decoupled: bool) -> None:
    learner, plain = Regression([L2Init(coefficient=0.0, decoupled=decoupled)]).train(3), Regression().train(3)
    assert all(torch.equal(p, plain.parameters()[name]) for name, p in learner.parameters().items())
    assert learner.metrics() == {}


def test_what_is_frozen_is_told_once() -> None:
    learner = Regression([L2Init()])
    learner.module[0].requires_grad_(False)
    with pytest.warns(UserWarning, match=r"^l2_init: a part of the networks is left .* its 0\.weight is frozen"):
        learner.train(1)
    learner.train(2)


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="coefficient is -1; give a number of at least 0"):
        L2Init(coefficient=-1)
