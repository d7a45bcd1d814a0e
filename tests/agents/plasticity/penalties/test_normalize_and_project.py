"""Normalize-and-project: norms that stay, outputs that stay, and networks that are refused."""

from __future__ import annotations

import pytest
import torch
from small_loop import Regression
from torch import nn

from agents.plasticity import NormalizeAndProject


def normalised(affine: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(4, 12), nn.LayerNorm(12, elementwise_affine=affine), nn.ReLU(),
        nn.Linear(12, 6, bias=False), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 3),
    )  # fmt: skip


def test_norms_are_those_of_the_start() -> None:
    learner = Regression([NormalizeAndProject()], model=normalised(), rate=0.05)
    start = [float(learner.module[place].weight.detach().norm()) for place in (0, 3)]
    for _ in range(10):
        learner.train(1)
    assert [float(learner.module[place].weight.detach().norm()) for place in (0, 3)] == pytest.approx(start)
    for place, units in ((1, 12), (4, 6)):
        norm = learner.module[place]
        joint = torch.cat([norm.weight, norm.bias]).detach().norm()
        assert float(joint) == pytest.approx(units**0.5)
    head = learner.module[6].weight.detach()
    free = Regression(model=normalised(), rate=0.05)
    assert not torch.equal(head, free.module[6].weight.detach())  # it has learnt


def test_projected_weights_compute_the_same() -> None:
    learner = Regression([NormalizeAndProject()], model=normalised(affine=False), rate=0.0)
    with torch.no_grad():
        for parameter in learner.module[0].parameters():
            parameter.mul_(3.0)
    before = learner.module(learner.x).detach()
    learner.train(1)
    torch.testing.assert_close(
        learner.module(learner.x).detach(), before, rtol=1e-3, atol=1e-4
    )  # but for LayerNorm's eps
    bound = float(learner.module[0].weight.detach().abs().max())
    assert bound <= 0.5  # as torch has drawn them


def test_it_acts_once_in_a_period() -> None:
    learner = Regression([NormalizeAndProject(period=3)], model=normalised(), rate=0.05)
    start = float(learner.module[0].weight.detach().norm())
    apart = []
    for _ in range(6):
        learner.train(1)
        apart.append(abs(float(learner.module[0].weight.detach().norm()) - start) > 1e-5)
    assert apart == [True, True, False, True, True, False]


def test_its_norms_are_part_of_its_state() -> None:
    intervention = NormalizeAndProject()
    Regression([intervention], model=normalised())
    state = {key: 2 * norm for key, norm in intervention.state_dict().items()}
    assert list(state) == [f"norm/net/{number}" for number in range(4)]
    other = NormalizeAndProject()
    learner = Regression([other], model=normalised(), rate=0.0)
    start = learner.parameters()
    other.load_state_dict(state)
    learner.train(1)
    torch.testing.assert_close(learner.parameters()["0.weight"], 2 * start["0.weight"])
    with pytest.raises(ValueError, match="the saved state is of other networks: norm/net/0"):
        other.load_state_dict({key: norm for key, norm in state.items() if key != "norm/net/0"})


def test_what_is_new_has_its_new_norm() -> None:
    learner = Regression([NormalizeAndProject()], model=normalised(), rate=0.0)
    learner.train(1)
    learner.module[3] = nn.Linear(12, 6, bias=False)
    with torch.no_grad():
        learner.module[3].weight.mul_(3.0)
    new = learner.module[3].weight.detach().clone()
    learner.add_param_group({"params": learner.module[3].parameters()})
    learner.train(1)
    torch.testing.assert_close(learner.module[3].weight.detach(), new)


def test_what_is_frozen_is_told_and_left_alone() -> None:
    learner = Regression([NormalizeAndProject()], model=normalised())
    learner.module[0].requires_grad_(False)
    with torch.no_grad():
        learner.module[0].weight.mul_(2.0)
    start = learner.parameters()["0.weight"]
    with pytest.warns(UserWarning, match=r"^normalize_and_project: a part .* because its 0\.weight is frozen"):
        learner.train(1)
    assert torch.equal(learner.parameters()["0.weight"], start)


@pytest.mark.parametrize("behind", [nn.ReLU(), nn.Sequential(nn.Tanh(), nn.LayerNorm(8))])
def test_networks_without_normalisations_are_refused(behind: nn.Module) -> None:
    message = r"net has Linear\(in_features=4.* without a normalisation before its activation .*agent\.norm: layer"
    with pytest.raises(ValueError, match=message):
        Regression([NormalizeAndProject()], model=nn.Sequential(nn.Linear(4, 8), behind, nn.Linear(8, 3)))
    with pytest.raises(ValueError, match="period is 0; give a whole number of gradient steps of at least 1"):
        NormalizeAndProject(period=0)
