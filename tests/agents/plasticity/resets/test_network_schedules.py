"""When resets of whole layers and networks act."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from small_loop import Regression
from whole_networks import SWITCH

from agents.plasticity import (
    FullReset,
    HeadReset,
    Intervention,
    ShrinkAndPerturb,
)

MAKERS: list[Callable[..., Intervention]] = [
    FullReset,
    HeadReset,
    lambda period: ShrinkAndPerturb(period=period, shrink=0.9, perturb=0.1),
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_period_is_counted_in_gradient_steps_and_waits_for_the_end_of_the_update(make: Callable) -> None:
    learner = Regression([make(period=10)], rate=0.0)
    acted, before = [], learner.parameters()
    for steps in (4, 5, 4, 6, 30):
        learner.train(steps)
        if any(not torch.equal(tensor, before[name]) for name, tensor in learner.parameters().items()):
            acted.append(learner.optimizer_steps)
        before = learner.parameters()
    assert acted == [13, 49]


@pytest.mark.parametrize(("make", "number"), list(zip(MAKERS, (0, 4, 0), strict=True)))
def test_period_one_acts_at_every_step(make: Callable, number: int) -> None:
    learner = Regression([make(period=1)], rate=0.0)
    for _ in range(3):
        before = learner.parameters()
        with learner.forward():
            loss = learner.loss(learner.module(learner.x), learner.y).mean()
        learner.step(loss, update_ends=False)
        assert not torch.equal(learner.module[number].weight, before[f"{number}.weight"])
        before = learner.parameters()
        learner.after_update()
        assert torch.equal(learner.module[number].weight, before[f"{number}.weight"])


@pytest.mark.parametrize("make", [FullReset, HeadReset, lambda: ShrinkAndPerturb(mode="boundary")])
def test_without_a_period_it_acts_at_revealed_switches_once_each(make: Callable) -> None:
    reset = make()
    assert reset.uses_boundaries
    learner = Regression([reset], rate=0.0)
    before = learner.parameters()
    learner.train(5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.parameters().items())
    learner.after_update(SWITCH)
    after = learner.parameters()
    assert not torch.equal(after["4.weight"], before["4.weight"])
    learner.train(5)
    assert all(torch.equal(tensor, after[name]) for name, tensor in learner.parameters().items())


@pytest.mark.parametrize("make", [lambda: FullReset(period=100), lambda: HeadReset(period=100), ShrinkAndPerturb])
def test_with_a_period_switches_do_not_matter(make: Callable) -> None:
    reset = make()
    assert not reset.uses_boundaries
    learner = Regression([reset], rate=0.0)
    before = learner.parameters()
    learner.train(5)
    learner.after_update(SWITCH)
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.parameters().items())


def test_a_switch_that_was_saved_is_not_forgotten() -> None:
    reset = FullReset()
    learner = Regression([reset])
    reset.on_task_switch(SWITCH)
    state = reset.state_dict()
    other = FullReset()
    learner = Regression([other])
    other.load_state_dict(state)
    before = learner.parameters()
    learner.after_update()
    assert not torch.equal(learner.module[0].weight, before["0.weight"])


def test_it_counts_from_where_a_learner_stands() -> None:
    learner = Regression().train(25)
    reset = FullReset(period=10)
    learner.interventions.append(reset)
    reset.attach(learner)
    learner.train(4)
    assert learner.edits == []
    learner.train(1)
    assert [step for step, _ in learner.edits] == [30]
