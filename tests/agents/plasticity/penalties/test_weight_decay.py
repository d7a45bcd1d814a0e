"""Weight decay: AdamW's and Adam's own, and what is left alone."""

from __future__ import annotations

import pytest
import torch
from small_loop import Regression
from torch import nn

from agents.plasticity import PlasticOptimizer, WeightDecay


def trained(decoupled: bool, *, ours: bool, clipped: bool = False) -> nn.Module:
    """Ten steps of Adam with a decay of .1: ours, or that of torch's optimizers."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    kind = torch.optim.AdamW if decoupled and not ours else torch.optim.Adam
    own = kind(model.parameters(), lr=0.05, weight_decay=0.0 if ours else 0.1)
    decay = [WeightDecay(coefficient=0.1, decoupled=decoupled)] if ours else []
    optimizer = PlasticOptimizer(own, model, decay)
    for _ in range(10):
        x = torch.randn(8, 3)
        with optimizer.forward():
            loss = (model(x) - x[:, :2]).square().mean()
        optimizer.step(loss)
    return model


def test_in_the_loss_it_is_that_of_adam() -> None:
    for one, other in zip(trained(False, ours=True).parameters(), trained(False, ours=False).parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_beside_the_loss_it_shrinks_weights_by_the_learning_rate_times_it() -> None:
    """AdamW shrinks weights before its step and ours after it, by the same factor."""
    torch.manual_seed(0)
    layer = nn.Linear(2, 2)
    start = layer.weight.detach().clone()
    optimizer = PlasticOptimizer(torch.optim.SGD(layer.parameters(), lr=0.1), layer, [WeightDecay(coefficient=2.0)])
    for _ in range(3):
        with optimizer.forward():
            loss = 0 * layer(torch.zeros(1, 2)).sum()
        optimizer.step(loss)
    torch.testing.assert_close(layer.weight.detach(), start * 0.8**3)
    for one, other in zip(trained(True, ours=True).parameters(), trained(True, ours=False).parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0.05 * 0.05 * 0.1 * 10)  # a step times a decay, ten times


def test_normalisations_and_frozen_layers_are_left_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 3))
    learner = Regression([WeightDecay(coefficient=1.0)], model=model, rate=0.5, loss=lambda out, y: 0 * out.sum(1))
    model[3].requires_grad_(False)
    start = learner.parameters()
    with pytest.warns(UserWarning, match=r"^weight_decay: a part of the networks is left .* its 3\.weight is frozen"):
        learner.train(1)
    for name, parameter in learner.parameters().items():
        torch.testing.assert_close(parameter, start[name] * (0.5 if name.startswith("0.") else 1.0))


@pytest.mark.parametrize("decoupled", [True, False])
def test_a_coefficient_of_zero_is_none(decoupled: bool) -> None:
    learner, plain = Regression([WeightDecay(coefficient=0.0, decoupled=decoupled)]).train(3), Regression().train(3)
    assert all(torch.equal(p, plain.parameters()[name]) for name, p in learner.parameters().items())
