"""What surgery makes of target networks."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from operated import every, nobody, seeded
from policies import POLICIES, Case
from torch import nn

from agents.plasticity.surgery import Surgery, reset_units
from agents.plasticity.units import sequential

TARGETED = ["dqn-mlp", "dqn-cnn", "sac-mlp", "sac-cnn", "sac-cnn-shared"]


@pytest.fixture(params=TARGETED)
def targeted(request: pytest.FixtureRequest) -> Iterator[Case]:
    """A policy whose targets differ from what they follow in every entry."""
    case = POLICIES[request.param]()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for target in case.targets.values():
            target += 1 + torch.rand(target.shape, generator=generator)
    assert case.targets
    return case


def test_targets_are_left_alone(targeted: Case) -> None:
    """METHODS 15.10."""
    before = [target.clone() for target in targeted.targets.values()]
    everyone = {layer.name: torch.ones(layer.units) for layer in targeted.layers}
    for surgery in (Surgery(), Surgery(targets="leave", outgoing="small_random")):
        reset_units(targeted.layers, everyone, targeted.optimizers, seeded, surgery, targets=targeted.targets)
        assert all(torch.equal(*pair) for pair in zip(targeted.targets.values(), before, strict=True))


@pytest.mark.parametrize("outgoing", ["zero", "small_random"])
def test_targets_take_over_changed_rows_and_columns_alone(targeted: Case, outgoing: str) -> None:
    """METHODS 15.10."""
    before = [(parameter.clone(), target.clone()) for parameter, target in targeted.targets.items()]
    amounts = {layer.name: every(layer, 3) for layer in targeted.layers}
    reset_units(
        targeted.layers, amounts, targeted.optimizers, seeded, Surgery(targets="sync", outgoing=outgoing),
        targets=targeted.targets,
    )  # fmt: skip
    touched = 0
    for (parameter, target), (old, old_target) in zip(targeted.targets.items(), before, strict=True):
        same = parameter == target
        assert torch.equal(target[~same], old_target[~same])
        assert torch.equal(parameter[~same], old[~same])
        assert not same.all()
        touched += int(same.any())
    online = {id(parameter) for parameter in targeted.targets}
    producers = [layer.producer for layer in targeted.layers if id(layer.producer.weight) in online]
    assert producers
    for producer in producers:
        layer = next(layer for layer in targeted.layers if layer.producer is producer)
        new = amounts[layer.name] > 0
        assert torch.equal(targeted.targets[producer.weight][new], producer.weight[new])
        assert torch.equal(targeted.targets[producer.bias][new], producer.bias[new])
    assert touched >= 2 * len(producers)


@pytest.mark.parametrize("branch", [True, False])
def test_targets_become_whole_copies_where_their_units_are_replaced(
    targeted: Case, branch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """METHODS 15.10, with and without a look at which units they are."""
    monkeypatch.setattr("agents.plasticity.surgery.may_branch", lambda device: branch)
    copying = Surgery(targets="copy")
    before = [target.clone() for target in targeted.targets.values()]
    online = [parameter.clone() for parameter in targeted.targets]
    idle = nobody(targeted.layers)
    reset_units(targeted.layers, idle, targeted.optimizers, seeded, copying, targets=targeted.targets)
    assert all(torch.equal(*pair) for pair in zip(targeted.targets.values(), before, strict=True))
    assert all(torch.equal(*pair) for pair in zip(targeted.targets, online, strict=True))

    followed = [layer for layer in targeted.layers if layer.producer.weight in targeted.targets]
    apart = [layer for layer in targeted.layers if layer.producer.weight not in targeted.targets]
    assert bool(apart) == ("actor" in targeted.networks)
    if apart:  # units of networks without a target, SAC's actor
        amounts = {**idle, apart[0].name: every(apart[0], 2)}
        reset_units(targeted.layers, amounts, targeted.optimizers, seeded, copying, targets=targeted.targets)
        assert all(torch.equal(*pair) for pair in zip(targeted.targets.values(), before, strict=True))
    one = torch.zeros(followed[0].units)
    one[1] = 0.5
    reset_units(
        targeted.layers, {**idle, followed[0].name: one}, targeted.optimizers, seeded, copying,
        targets=targeted.targets,
    )  # fmt: skip
    for parameter, target in targeted.targets.items():
        assert torch.equal(parameter, target)
        assert parameter is not target
    changed = [not torch.equal(*pair) for pair in zip(targeted.targets, online, strict=True)]
    assert 0 < sum(changed) < len(changed)


def test_copied_targets_by_hand() -> None:
    model, target = (nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)) for _ in range(2))
    with torch.no_grad():
        for module, value in ((model, 1.0), (target, 7.0)):
            for parameter in module.parameters():
                parameter.fill_(value)
    targets = dict(zip(model.parameters(), target.parameters(), strict=True))
    amounts = {"net.0": torch.tensor([0.0, 1.0])}
    reset_units(list(sequential(model).layers), amounts, [], seeded, Surgery(targets="copy"), targets=targets)
    assert target[0].weight[0].tolist() == [1.0, 1.0]
    assert torch.equal(target[0].weight[1], model[0].weight[1])
    assert not (target[0].weight[1] == 1.0).any()
    assert target[2].weight.tolist() == [[1.0, 0.0]]
    assert target[2].bias.tolist() == [1.0]


def test_a_target_absorbs_by_its_own_weights() -> None:
    """With compensation the target's bias takes over what the target loses, and loses nothing by it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    target = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in target[2:].parameters():
            parameter += torch.randn_like(parameter)
        for module in (model, target):  # constant units, the same in both
            module[0].weight[[0, 3]] = 0.0
            module[0].bias[[0, 3]] = torch.tensor([0.4, -0.7], dtype=torch.float64)
    layers, x = list(sequential(model).layers), torch.randn(6, 3, dtype=torch.float64)
    means = {"net.0": model[:2](x).detach().mean(0)}
    before = [module(x).detach() for module in (model, target)]
    amounts = {**nobody(layers), "net.0": torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0])}
    targets = dict(zip(model.parameters(), target.parameters(), strict=True))
    reset_units(layers, amounts, [], seeded, Surgery(compensate=True, targets="sync"), means, targets)
    for module, expected in zip((model, target), before, strict=True):
        torch.testing.assert_close(module(x).detach(), expected, rtol=1e-6, atol=1e-12)
    assert not torch.equal(model[2].bias, target[2].bias)
    assert torch.equal(model[0].weight, target[0].weight)
    assert not target[2].weight[:, [0, 3]].any()


def test_a_head_without_a_bias_absorbs_nothing() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2, bias=False))
    target = copy.deepcopy(model)
    targets = dict(zip(model.parameters(), target.parameters(), strict=True))
    surgery = Surgery(compensate=True, targets="sync")
    (layer,) = sequential(model).layers
    reset_units([layer], {"net.0": torch.ones(5)}, [], seeded, surgery, {"net.0": torch.ones(5)}, targets)
    assert not model[2].weight.any()
    assert not target[2].weight.any()
