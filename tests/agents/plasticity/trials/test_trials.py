"""Interventions on copies: what they do there is what they would do, and the learner knows nothing of it."""

from __future__ import annotations

import copy
import gc
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import small_off_policy
import torch
from small_loop import Regression
from small_ward import patient
from torch import Tensor

from agents.plasticity import (
    GXD,
    CChain,
    FullReset,
    Intervention,
    L2Init,
    ReDo,
    SampleWeightDecay,
    ShrinkAndPerturb,
    WeightClipping,
)
from agents.plasticity.outputs import Form
from agents.plasticity.trials import (
    become,
    memory_of,
    on_a_copy,
    output_changes,
    scores_minibatches,
    train,
    try_out,
)

AGENTS: dict[str, Callable[[], Any]] = {
    "ppo": lambda: patient().learn(512),
    "dqn": lambda: small_off_policy.ours("dqn-mlp", buffer_size=100, batch_size=8).learn(60),
    "sac": lambda: small_off_policy.ours("sac-mlp", buffer_size=100, batch_size=8).learn(60),
    "td3": lambda: small_off_policy.ours("td3-mlp", buffer_size=100, batch_size=8).learn(60),
    "a loop of one's own": lambda: Regression(batch_size=16).train(3),
}


def held(learner: Any) -> list[Any]:
    """All that training would go on from, also what gradients there are."""
    optimizers = [optimizer.state_dict() for optimizer in learner.optimizers]
    gradients = [parameter.grad for parameter in learner.root.parameters()]
    return copy.deepcopy([learner.snapshot(), optimizers, gradients, torch.get_rng_state()])


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


@contextmanager
def unchanged(learner: Any) -> Iterator[None]:
    before, steps = held(learner), learner.optimizer_steps
    yield
    assert alike(before, held(learner))
    assert learner.optimizer_steps == steps


@pytest.mark.parametrize("kind", AGENTS)
def test_a_learner_stays_as_it_is_and_becomes_its_copy_where_that_is_asked(kind: str) -> None:
    learner = AGENTS[kind]()
    with unchanged(learner):
        for make in (lambda: GXD(rate=0.05, period=6, maturity=0, score_every=1), WeightClipping, CChain):
            with on_a_copy(learner, 1) as copied:
                before = learner.snapshot()
                try_out(copied, make(), 4)
                assert not alike(before, learner.snapshot()) or make is CChain
        with on_a_copy(learner, 1) as copied:
            try_out(copied, FullReset(), 4)
            expected, outcome = learner.snapshot(), copied.outcome()
        with become(learner, outcome):
            assert alike(learner.snapshot(), expected)
    outcome.put_into(learner, FullReset())
    assert alike(learner.snapshot(), expected)
    assert not any(optimizer.state for optimizer in learner.optimizers)


def test_what_acts_gradually_acts_in_every_step_of_a_training_that_is_the_same_without_it() -> None:
    learner = patient().learn(512)
    with on_a_copy(learner, 1) as copied:
        train(copied, 3)
        plain = learner.snapshot()
    found = []
    for coefficient in (0.0, 1.0):
        with on_a_copy(learner, 1) as copied:
            try_out(copied, L2Init(coefficient=coefficient), 3)
            found.append(learner.snapshot())
    assert alike(found[0], plain)
    assert not alike(found[1], plain)


def test_units_that_score_minibatches_see_them_and_nothing_is_trained() -> None:
    learner = Regression(batch_size=16).train(3)
    never = GXD(rate=0.0, period=6, maturity=0, score_every=1)
    with on_a_copy(learner, 1) as copied:
        try_out(copied, never, 4)
        assert alike(learner.snapshot(), {f"{key}": value for key, value in learner.parameters().items()})
    assert float(never.state_dict()["utility_weight/net.0"][0]) == pytest.approx(1 - 0.99**4)
    assert scores_minibatches(never)
    assert not scores_minibatches(ReDo())


def test_a_copy_is_another_where_a_bit_is() -> None:
    learner = Regression().train(3)
    for intervention, is_another in [
        (ShrinkAndPerturb(mode="boundary", shrink=1.0, perturb=0.0), False),
        (FullReset(), True),
    ]:
        with on_a_copy(learner, 5) as copied:
            try_out(copied, intervention, 4)
            outcome = copied.outcome()
        assert bool(outcome.is_another(learner)) is is_another
    for value in (math.nan, 1e-30):
        with on_a_copy(learner, 5) as copied:
            learner.module[2].bias.data[3] += value
            outcome = copied.outcome()
        assert bool(outcome.is_another(learner)) is math.isnan(value)  # so little is lost


def test_others_are_told_what_was_applied() -> None:
    anchored = L2Init()
    learner = Regression([anchored], batch_size=16).train(3)
    with on_a_copy(learner, 1) as copied:
        try_out(copied, FullReset(), 4)
        outcome = copied.outcome()
    before = anchored.state_dict()
    assert learner.edits == []
    outcome.put_into(learner, FullReset())
    assert len(learner.edits) == 1
    assert not alike(before, anchored.state_dict())
    assert alike(anchored.state_dict()["anchor/net/0"], learner.module[0].weight.detach())


def test_what_draws_weights_to_where_they_began_draws_them_to_fresh_ones() -> None:
    learner = Regression(batch_size=16).train(3)
    with on_a_copy(learner, 1) as copied:
        copied_weight = learner.module[0].weight
        before = copied_weight.detach().clone()
        pull = ShrinkAndPerturb(mode="to_init", shrink=0.5, period=1)
        try_out(copied, pull, 1)
        began = pull.state_dict()["anchor/net/0"]
        assert (copied_weight - (before + began) / 2).abs().max() < 1e-6
    assert not torch.equal(began, before)
    assert began.abs().max() <= 0.5  # of torch's draw for four inputs


@pytest.mark.parametrize("kind", ["dqn", "ppo"])
def test_what_acts_on_the_data_cannot_be_tried(kind: str) -> None:
    with on_a_copy(AGENTS[kind](), 1) as copied, pytest.raises((ValueError, NotImplementedError), match="no matter of"):
        try_out(copied, SampleWeightDecay(), 2)


def test_copies_of_moments_are_gone_with_a_trial_though_what_was_tried_is_a_cycle() -> None:
    learner = Regression(batch_size=16).train(3)
    gc.disable()
    try:
        with on_a_copy(learner, 1) as copied:
            twin = weakref.ref(copied.optimizers[0])
            try_out(copied, ReDo(), 1)
        assert twin() is None
    finally:
        gc.enable()


class Raising(Intervention):
    name = "raising"

    def after_update(self) -> None:
        raise RuntimeError("mine")


def test_a_learner_is_as_it_was_also_behind_an_error() -> None:
    learner = Regression(batch_size=16).train(3)
    with unchanged(learner), pytest.raises(RuntimeError, match="mine"), on_a_copy(learner, 1) as copied:
        try_out(copied, Raising(), 2)


def test_changes_of_outputs_by_hand() -> None:
    forms = {"critic": Form("values", (1,)), "actor": Form("logits", (2,))}
    before = {"critic": torch.tensor([[1.0], [2.0]]), "actor": torch.zeros(2, 2)}
    after = {"critic": torch.tensor([[2.0], [2.0]]), "actor": torch.tensor([[math.log(3.0), 0.0]] * 2)}
    found = output_changes(forms, before, after)
    assert found["critic"].item() == pytest.approx(0.5 / 2.5)
    assert found["actor"].item() == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))


def test_the_memory_of_a_state() -> None:
    assert memory_of({"a": torch.zeros(3), "b": [torch.zeros(2, dtype=torch.float64), {"c": 7}]}) == 3 * 4 + 2 * 8
