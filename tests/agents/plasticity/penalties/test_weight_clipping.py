"""Weight clipping: ranges worked out by hand, and what is left alone."""

from __future__ import annotations

import math

import pytest
import torch
from small_loop import Regression
from torch import nn

from agents.plasticity import WeightClipping
from agents.plasticity.units import sequential
from agents.plasticity.units.inits import Orthogonal


def grown(model: nn.Module) -> Regression:
    """A learner whose weights are 10 or -10 and take no step, after an update with clipping."""
    learner = Regression([WeightClipping(kappa=2.0)], model=model, rate=0.0, x=torch.randn(8, 4))
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.fill_(-10.0 if number % 2 else 10.0)
    return learner.train(1)


def test_weights_and_biases_are_clamped_by_the_fan_in() -> None:
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    learner = grown(model)
    found = {name: (float(p.min()), float(p.max())) for name, p in learner.parameters().items()}
    assert found == {"0.weight": (1.0, 1.0), "0.bias": (-1.0, -1.0), "2.weight": (0.5, 0.5), "2.bias": (-0.5, -0.5)}
    assert learner.metrics() == {"weight_clipping/net/at_bound": 1.0}


def test_normalisations_are_left_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 3))
    learner = grown(model)
    assert torch.equal(learner.parameters()["1.weight"], torch.full((16,), 10.0))


def test_what_is_drawn_more_widely_has_a_wider_range() -> None:
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    clipping = WeightClipping()
    learner = Regression([clipping], model=model, rate=0.0)
    network = sequential(model, init=Orthogonal(math.sqrt(2)))
    learner.pose({"net": network})
    clipping.attach(learner)
    with torch.no_grad():
        model[0].weight.fill_(10.0)
    learner.train(1)
    # Columns of 16 entries with a length of sqrt(2): a variance of 1/8, where 1/sqrt(4) is published.
    torch.testing.assert_close(model[0].weight.detach(), torch.full((16, 4), math.sqrt(3 / 8)))


def test_what_is_frozen_is_told_and_left_alone() -> None:
    learner = Regression([WeightClipping(kappa=1e-3)])
    learner.module[0].requires_grad_(False)
    start = learner.parameters()["0.weight"]
    with pytest.warns(UserWarning, match=r"^weight_clipping: a part .* is left as it is, because its 0\.weight is fro"):
        learner.train(1)
    assert torch.equal(learner.parameters()["0.weight"], start)
    assert float(learner.parameters()["2.weight"].abs().max()) <= 1e-3


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="kappa is 0; give a number above 0"):
        WeightClipping(kappa=0)
