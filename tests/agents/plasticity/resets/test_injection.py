"""Plasticity injection: what heads compute before and after it, what learns on, and when it is done."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from small_loop import Regression
from torch import Tensor, nn
from whole_networks import SWITCH

from agents.plasticity import GXD, FullReset, Injectable, Intervention, PlasticityInjection, WeightDecay
from agents.plasticity.surgery import Surgery, reset_units
from agents.plasticity.units import sequential


def small() -> Injectable:
    """3 relu(2 z), biases 0."""
    head = Injectable(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))
    with torch.no_grad():
        for parameter, value in zip(head.live, (2.0, 0.0, 3.0, 0.0), strict=True):
            parameter.fill_(value)
    return head


def filled(*values: float) -> list[Tensor]:
    return [torch.full(shape, value) for value, shape in zip(values, ((1, 1), (1,), (1, 1), (1,)), strict=True)]


def test_worked_out_by_hand() -> None:
    head, z = small(), torch.tensor([[2.0]], requires_grad=True)
    assert head(z).item() == 3 * 2 * 2
    head.inject(filled(1.0, 1.0, 0.5, 0.0))
    assert head(z).item() == 12  # .5 (2 + 1) - .5 (2 + 1) + 12
    with torch.no_grad():
        head.live[2].fill_(4.0)
    out = head(z)
    assert out.item() == 4 * 3 - 0.5 * 3 + 12
    out.backward()
    assert z.grad is not None
    assert z.grad.item() == 4 * 1 - 0.5 * 1 + 6  # gradients go through all three
    assert [parameter.grad.item() for parameter in head.live] == [4 * 2, 4, 3, 1]
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in head.frozen)


def test_till_something_is_injected_it_is_a_sequence() -> None:
    torch.manual_seed(0)
    layers = nn.Linear(4, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3)
    plain, head, z = nn.Sequential(*layers), Injectable(*layers), torch.randn(16, 4)
    assert torch.equal(head(z), plain(z))
    assert list(head.live) == list(plain.parameters())
    assert [name for name, p in head.named_parameters() if p.requires_grad] == [n for n, _ in plain.named_parameters()]
    assert not any(parameter.any() for parameter in head.frozen)
    assert [*head] == [*plain]


def test_a_state_dict_tells_what_was_injected() -> None:
    head, other = small(), small()
    head.inject(filled(1.0, 1.0, 0.5, 0.0))
    other.load_state_dict(head.state_dict())
    z = torch.randn(5, 1)
    assert other.injected
    assert torch.equal(other(z), head(z))
    assert torch.equal(copy.deepcopy(head)(z), head(z))
    other.load_state_dict(small().state_dict())
    assert not other.injected
    with pytest.raises(ValueError, match=r"^plasticity was injected into this head before; that is done once$"):
        head.inject(filled(0.0, 0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match=r"^an injectable head has a layer with buffers, such as a BatchNorm"):
        Injectable(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 1))


def regression(interventions: Sequence[Intervention], injectable: bool = True) -> Regression:
    torch.manual_seed(3)
    layers = nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 10), nn.LayerNorm(10), nn.ReLU(), nn.Linear(10, 3)
    model = nn.Sequential(*layers[:2], Injectable(*layers[2:])) if injectable else nn.Sequential(*layers)
    return Regression(interventions, model=model)


def head_of(learner: Regression) -> Injectable:
    head = learner.module[2]
    assert isinstance(head, Injectable)
    return head


def test_outputs_stay_and_new_weights_learn_on() -> None:
    learner, plain = regression([PlasticityInjection(step=4)]), regression([]).train(5)
    head = head_of(learner)
    learner.train(3)
    assert not head.injected
    counted = sum(p.numel() for p in learner.module.parameters() if p.requires_grad)
    learner.train(2)  # due in the middle of this update
    assert head.injected
    assert torch.equal(learner.module(learner.x), plain.module(plain.x))
    state = learner.optimizers[0].state
    assert not any(parameter in state for parameter in (*head.live, *head.frozen))
    assert learner.module[0].weight in state
    for kind, expected in (("old", head_of(plain).live), ("fresh", head.live)):
        assert all(torch.equal(getattr(head, f"{kind}_{n}"), p) for n, p in enumerate(expected))
    assert sum(p.numel() for p in learner.module.parameters() if p.requires_grad) == counted
    before = {name: p.detach().clone() for name, p in learner.module.named_parameters()}
    learner.train(1)
    moved = {name for name, p in learner.module.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name, p in learner.module.named_parameters() if p.requires_grad}
    ((step, edit),) = learner.edits
    assert step == 5
    assert {name: amounts.tolist() for name, amounts in edit.amounts.items()} == {"net.1": [1.0] * 10}
    assert set(edit.tensors) == set(head.live)
    learner.train(20)
    assert len(learner.edits) == 1  # once


def test_before_it_is_done_nothing_is_changed() -> None:
    learner, plain = regression([PlasticityInjection(step=100)]).train(5), regression([], injectable=False).train(5)
    assert all(torch.equal(p, q) for p, q in zip(_learning(learner), plain.module.parameters(), strict=True))


def _learning(learner: Regression) -> list[Tensor]:
    return [parameter for parameter in learner.module.parameters() if parameter.requires_grad]


def test_without_a_step_it_is_done_at_the_first_switch_alone() -> None:
    learner = regression([PlasticityInjection()])
    assert PlasticityInjection().uses_boundaries
    learner.train(3)
    assert not head_of(learner).injected
    learner.after_update(SWITCH)
    assert head_of(learner).injected
    old = head_of(learner).old_0.clone()
    learner.train(3)
    learner.after_update(SWITCH)
    assert torch.equal(head_of(learner).old_0, old)


def test_it_goes_on_where_it_stood() -> None:
    """Before it is done, and after, where units of the new weights are reset and decay pulls on all that learns."""

    def learner() -> Regression:
        reset = GXD(rate=0.05, period=2, maturity=1, score_every=1)
        return regression([PlasticityInjection(step=4), reset, WeightDecay(coefficient=0.1)])

    for first in (2, 6):
        whole, half, other = learner(), learner(), learner()
        whole.train(first)
        half.train(first)
        other.module.load_state_dict(half.module.state_dict())
        other.load_state_dict(half.state_dict())
        for one in (whole, other):
            for _ in range(6):
                one.train(1)
        state = whole.module.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in other.module.state_dict().items())
        assert head_of(whole).injected
        assert any("net.1" in edit.masks and not edit.masks["net.1"].all() for _, edit in whole.edits)


def test_a_full_reset_drops_what_is_frozen() -> None:
    learner = regression([PlasticityInjection(step=2), FullReset(period=5)]).train(3)
    head = head_of(learner)
    assert head.injected
    learner.train(2)
    assert not head.injected
    assert not any(parameter.any() for parameter in head.frozen)
    learner.train(1)
    assert head.injected  # again, at 6


def test_it_can_be_compiled() -> None:
    head, z = small(), torch.randn(4, 1)
    compiled = torch.compile(head, backend="eager", fullgraph=True)
    assert torch.equal(compiled(z), head(z))
    head.inject(filled(1.0, 1.0, 0.5, 0.0))
    with torch.no_grad():
        head.live[2].fill_(4.0)
    assert torch.equal(compiled(z), head(z))


def test_a_frozen_head_is_left_alone() -> None:
    learner = regression([PlasticityInjection(step=1)])
    head_of(learner)[0].requires_grad_(False)
    with pytest.warns(UserWarning, match=r"^plasticity_injection: the head of net is left as it is, because its 2"):
        learner.train(1)
    assert not head_of(learner).injected


def test_what_it_cannot_be_done_to_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^plasticity_injection: the head of net is not built for it; give"):
        Regression([PlasticityInjection()])
    single = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), Injectable(nn.Linear(8, 3)))
    with pytest.raises(ValueError, match=r"^plasticity_injection: the head of net is a single linear layer"):
        Regression([PlasticityInjection()], model=single)
    model = nn.Sequential(nn.Linear(4, 8), Injectable(nn.ReLU(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)))
    targets = dict(zip(model.parameters(), copy.deepcopy(model).parameters(), strict=True))
    with pytest.raises(ValueError, match=r"the head of net has a target network whose head is not known"):
        Regression([PlasticityInjection()], model=model, targets=targets)
    with pytest.raises(ValueError, match=r"^step is 0; give a whole number of gradient steps of at least 1"):
        PlasticityInjection(step=0)


def test_training_that_is_too_short_is_told_by_the_step() -> None:
    (injection,) = regression([PlasticityInjection(step=1000)]).interventions
    assert injection.hindrance(999) == "step 1,000"
    assert injection.hindrance(1000) is None


def test_what_is_frozen_learns_nothing_even_where_all_parameters_are_let_learn() -> None:
    head = small()
    head.inject(filled(1.0, 1.0, 0.5, 0.0))
    head.requires_grad_(True)
    head(torch.ones(2, 1)).sum().backward()
    assert all(parameter.grad is None for parameter in head.frozen)
    assert all(parameter.grad is not None for parameter in head.live)


def test_two_in_one_list_are_refused() -> None:
    with pytest.raises(ValueError, match=r"both inject plasticity into net; leave one of them out"):
        regression([PlasticityInjection(step=2), PlasticityInjection(step=4)])


@pytest.mark.parametrize("compensate", [False, True])
def test_what_reads_new_units_in_frozen_heads_becomes_zero(compensate: bool) -> None:
    """Of the units before a head the first one is silent, and the second one always puts out 2."""
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), Injectable(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)))
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([-1.0, 2.0]))
    (layer, inner), head, z = sequential(model).layers, model[2], torch.randn(5, 1)
    assert isinstance(head, Injectable)
    assert layer.outgoing().shape == (2, 3, 1)
    head.inject([torch.randn_like(parameter) for parameter in head.live])
    with torch.no_grad():
        head.live[0].add_(1.0)
        before = model(z)
    assert layer.outgoing().shape == (2, 9, 1)
    assert inner.outgoing().shape == (3, 1, 1)
    chosen = torch.tensor([1.0, float(compensate)])
    kept = [parameter.clone() for parameter in head.frozen]
    surgery, means = Surgery(compensate=compensate), {layer.name: torch.tensor([0.0, 2.0])}
    reset_units([layer], {layer.name: chosen}, [], lambda _: torch.Generator().manual_seed(0), surgery, means)
    torch.testing.assert_close(model(z), before, rtol=0, atol=1e-5 if compensate else 0.0)
    assert model[0].weight[0].any()
    for weight in (head.live[0], head.old_0, head.fresh_0):
        assert (weight == 0).all(0).tolist() == (chosen > 0).tolist()
    others = [number for number in range(len(kept)) if number % 4 > (1 if compensate else 0)]
    assert all(torch.equal(head.frozen[number], kept[number]) for number in others)
