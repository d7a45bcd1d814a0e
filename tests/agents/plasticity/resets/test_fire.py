"""FIRE: the nearest isometries, worked out by hand, and which layers become such."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from policies import POLICIES
from small_loop import CaseLearner, Regression
from torch import nn
from whole_networks import SWITCH, built, switched

from agents.plasticity import FIRE, Edit, Intervention
from agents.plasticity.resets.fire import isometric


def grown(value: float) -> float:
    """A singular value after ten steps, each by itself."""
    for _ in range(10):
        value = 1.5 * value - 0.5 * value**3
    return value


def test_singular_values_go_to_one_by_themselves() -> None:
    found = isometric(torch.tensor([[0.0, 3.0], [-4.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 1.0], [-1.0, 0.0]]))
    found = isometric(torch.diag(torch.tensor([1.0, 0.05, 0.01]).double()))
    norm = math.sqrt(1 + 0.05**2 + 0.01**2)
    expected = [grown(value / norm) for value in (1.0, 0.05, 0.01)]
    torch.testing.assert_close(found.diagonal(), torch.tensor(expected).double())
    assert expected[1:] == pytest.approx([1 - 5e-4, 0.529], abs=1e-3)


@pytest.mark.parametrize("shape", [(6, 3), (3, 6), (4, 4)])
def test_the_nearest_isometry_is_the_polar_factor(shape: tuple[int, int]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)).double() + 2 * torch.eye(*shape).double()
    u, _, vh = torch.linalg.svd(weight, full_matrices=False)
    torch.testing.assert_close(isometric(weight), u @ vh * math.sqrt(shape[0] / shape[1]), rtol=0, atol=1e-3)


def test_a_convolution_is_a_matrix_at_each_position() -> None:
    weight = torch.randn(6, 2, 3, 2, generator=torch.Generator().manual_seed(0))
    found = isometric(weight)
    for i in range(3):
        for j in range(2):
            torch.testing.assert_close(found[:, :, i, j], isometric(weight[:, :, i, j]) / 6)
            gram = found[:, :, i, j].T @ found[:, :, i, j]
            torch.testing.assert_close(gram, torch.eye(2) * 6 / 2 / 36, rtol=0, atol=1e-3)


def test_nothing_stays_nothing_and_half_precision_is_computed_in_single() -> None:
    assert not isometric(torch.zeros(3, 2)).any()
    weight = torch.randn(5, 5, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(isometric(weight), isometric(weight.float()).bfloat16())


class Listener(Intervention):
    """Keeps what it is told."""

    name = "listener"

    def __init__(self) -> None:
        self.edits: list[Edit] = []

    def on_surgery(self, edit: Edit) -> None:
        self.edits.append(edit)


def kinds(case: Any, *types: type[nn.Module]) -> list[nn.Module]:
    return [p.module for network in case.networks.values() for p in network.parts if isinstance(p.module, types)]


@pytest.mark.parametrize("kind", ["ppo-norm-mlp", "dqn-cnn", "sac-mlp", "sac-cnn-shared"])
@pytest.mark.parametrize("linear", ["isometric", "restore"])
def test_which_layers_become_what(kind: str, linear: Any) -> None:
    """All the weights, or convolutions alone, where linear layers go back; targets are copies, moments stay."""
    case, listener = POLICIES[kind](), Listener()
    learner = CaseLearner(case, [FIRE(linear=linear), listener])
    began = {p: p.detach().clone() for p in case.policy.parameters()}
    learner.train(2)
    before = {p: p.detach().clone() for p in case.policy.parameters()}
    moments = [{p: {k: v.clone() for k, v in s.items()} for p, s in o.state.items()} for o in case.optimizers]
    switched(learner)
    expected = dict(before)
    for module in kinds(case, nn.Linear, nn.Conv2d):
        if linear == "restore" and isinstance(module, nn.Linear):
            expected |= {p: began[p] for p in module.parameters(recurse=False)}
        else:
            expected[module.weight] = isometric(before[module.weight])
    for network in case.networks.values():
        assert all(torch.equal(p, expected[p]) for p in network.parameters)
    behind = [not torch.equal(before[target], before[parameter]) for parameter, target in case.targets.items()]
    assert any(behind) or not behind
    assert all(torch.equal(target, parameter) for parameter, target in case.targets.items())  # biases too
    for optimizer, held in zip(case.optimizers, moments, strict=True):
        assert all(torch.equal(optimizer.state[p][k], v) for p, state in held.items() for k, v in state.items())
    (edit,) = listener.edits
    new = {layer.name for layer in case.layers if linear == "restore" and isinstance(layer.producer, nn.Linear)}
    assert {name for name, amounts in edit.amounts.items() if (amounts == 1).all()} == new == edit.amounts.keys()
    learner.train(1)
    assert all(p.isfinite().all() for p in case.policy.parameters())


def test_normalisations_without_weights_are_passed_over() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, affine=False), nn.ReLU(), nn.Linear(8, 3))
    expected = isometric(model[3].weight.detach())
    Regression([FIRE(period=1)], model=model, rate=0.0).train(1)
    assert torch.equal(model[3].weight, expected)


def test_targets_may_follow_as_ever() -> None:
    case = built("dqn-mlp")
    learner = CaseLearner(case, [FIRE(targets="leave")])
    learner.train(1)
    before = [target.clone() for target in case.targets.values()]
    switched(learner)
    assert all(torch.equal(target, old) for target, old in zip(case.targets.values(), before, strict=True))


def test_at_a_period_or_at_switches() -> None:
    learner = Regression([FIRE(period=4)], rate=0.0)
    before = learner.parameters()
    learner.train(3)
    assert all(torch.equal(p, before[name]) for name, p in learner.parameters().items())
    learner.train(3)
    assert torch.equal(learner.module[2].weight, isometric(before["2.weight"]))
    assert torch.equal(learner.module[2].bias, before["2.bias"])
    waiting = Regression([FIRE()], rate=0.0).train(6)
    assert all(torch.equal(p, before[name]) for name, p in waiting.parameters().items())
    waiting.after_update(SWITCH)
    assert torch.equal(waiting.module[2].weight, isometric(before["2.weight"]))
    assert FIRE().uses_boundaries


def test_it_goes_on_where_it_stood() -> None:
    def learner() -> Regression:
        return Regression([FIRE(linear="restore", period=4)])

    whole, half, other = learner().train(3), learner().train(3), Regression([FIRE(linear="restore", period=4)], seed=1)
    other.module.load_state_dict(half.module.state_dict())
    other.load_state_dict(half.state_dict())
    other.x, other.y = half.x, half.y
    for one in (whole, other):
        one.train(2)
    assert all(torch.equal(p, whole.parameters()[name]) for name, p in other.parameters().items())
    assert torch.equal(other.module[0].weight, Regression().module[0].weight)  # restored, not the other's


def test_frozen_weights_are_left_alone() -> None:
    learner = Regression([FIRE(period=1)], rate=0.0)
    learner.module[0].requires_grad_(False)
    before = learner.parameters()
    with pytest.warns(UserWarning, match=r"^fire: a part of net is left as it is, because its 0\.weight is frozen"):
        learner.train(1)
    assert torch.equal(learner.module[0].weight, before["0.weight"])
    assert not torch.equal(learner.module[2].weight, before["2.weight"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"linear": "reset"}, "^linear is 'reset'; give isometric or restore"),
        ({"targets": "sync"}, "^targets is 'sync'; give copy or leave"),
        ({"period": 0}, "^period is 0; give a whole number of gradient steps of at least 1"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FIRE(**arguments)  # type: ignore[arg-type]
