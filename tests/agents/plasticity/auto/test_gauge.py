"""How the closed loop measures trainability: in as few gradient steps as tell something, and within its budget."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from small_auto import own
from small_ward import patient
from torch import nn

from agents.plasticity import Auto
from agents.plasticity.auto.gauge import BEGUN, FEWEST, KEPT, SURE, Gauge
from agents.plasticity.auto.living import LOOKING
from agents.plasticity.auto.trying import MINIBATCHES, OVERHEAD


def look_of(steps: int) -> int:
    """Transitions of one network's probe."""
    return (steps + BEGUN) * 128


def test_the_budget_is_kept_in_transitions() -> None:
    auto = Auto(period=1, budget=2.0, steps=2)
    learner = own(auto)
    look, step = look_of(2), 16 + OVERHEAD
    spent, decisions = 0, 0
    for made in range(1, 40):
        learner.train(1)
        if spent <= 2.0 * made * step:
            spent += look * (1 if decisions % KEPT else 2) + LOOKING  # now and then a fresh network is trained, too
            decisions += 1
        assert auto.decisions == decisions
        assert auto.metrics()["share"] == spent / (made * step)
    assert decisions > KEPT + 1


def test_trials_are_made_at_once_and_paid_for_by_waiting() -> None:
    auto = Auto(candidates=["head_reset", "gxd"], period=1, budget=3.0, threshold=99.0, steps=20)
    learner = own(auto, rate=0.05)
    step = 16 + OVERHEAD
    learner.train(1)
    assert auto.last is not None
    assert auto.last.trials.keys() == {"head_reset", "gxd"}
    # A fresh network and its own, one probe for each candidate, of which one scores minibatches.
    spent = 4 * look_of(20) + LOOKING + MINIBATCHES * step
    while auto.decisions == 1:
        learner.train(1)
    assert learner.optimizer_steps == -(-spent // (3 * step))


def test_what_seems_ill_is_taken_again_with_more_steps_and_what_is_slow_at_first_is_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[tuple[bool, int]] = []

    def removed(learner: Any, batch: Any, parameters: Any, *, seed: int, steps: Any) -> dict[str, torch.Tensor]:
        (size,) = steps.values()
        fresh = not torch.equal(parameters["2.weight"], learner.module[2].weight)
        taken.append((fresh, size))
        return {"net/trainability": torch.tensor(0.8 if fresh or size >= slow else 0.1)}

    monkeypatch.setattr("agents.plasticity.auto.gauge.errors_removed", removed)
    auto = Auto(candidates=["head_reset"], period=1, budget=1e6)
    slow = SURE * FEWEST
    learner = own(auto).train(1)
    assert taken == [(True, FEWEST), (False, FEWEST), (False, slow), (True, slow)]
    assert auto.last is not None
    assert (auto.last.trainability, auto.last.trials) == (1.0, {})
    taken.clear()
    learner.train(1)
    assert taken == [(False, slow)]
    taken.clear()
    slow = 1_000
    learner.train(1)
    # Beside a fresh network on the same observations, and with more steps, which one could not need more of to be well;
    # with a candidate in the fewer ones.
    assert taken == [(False, 15), (True, 15), (False, 45), (False, 15)]
    assert (auto.last.measure, auto.last.trainability) == ("net/trainability", 0.1 / 0.8)


def test_a_policy_is_taken_again_by_what_another_network_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[int, int]] = []
    measure = "actor/policy_trainability"

    def removed(learner: Any, batch: Any, parameters: Any, *, seed: int, steps: Any) -> dict[str, torch.Tensor]:
        ill = all(torch.equal(parameters[name], value) for name, value in learner.snapshot().items())
        taken.extend((seed, size) for name, size in steps.items() if name == measure)
        return {name: torch.tensor(0.1 if ill and name == measure else 0.8) for name in steps}

    monkeypatch.setattr("agents.plasticity.auto.gauge.errors_removed", removed)
    idle = {"name": "shrink_and_perturb", "mode": "boundary", "shrink": 1.0, "perturb": 0.0}
    auto = Auto(candidates=["head_reset", idle], period=16, budget=1e6)
    patient(interventions=[auto], learning_rate=1e-2).learn(512)
    assert auto.last is not None
    assert (auto.last.measure, auto.last.trainability) == (measure, 0.1 / 0.8)
    assert auto.last.trials["shrink_and_perturb"] == {"trainability": 0.1 / 0.8, "cost": 0.0}
    (one, first), *_ = taken
    (other, last) = taken[-1]
    assert (first, last) == (FEWEST, FEWEST)
    # A fresh network's and its own, both again, and that of head_reset; what has changed nothing is not measured.
    assert [seed for seed, _ in taken] == [one, one, other, other, other]
    assert one != other


@pytest.mark.parametrize("steps", [None, 10])
def test_where_another_network_does_not_learn_either_nothing_is_told_of_a_policy(
    steps: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, seeds, last = "actor/policy_trainability", [], 0

    def removed(learner: Any, batch: Any, parameters: Any, *, seed: int, steps: Any) -> dict[str, torch.Tensor]:
        nonlocal last
        seeds.append(seed)
        own = all(torch.equal(parameters[name], value) for name, value in learner.snapshot().items())
        last = steps.get(measure, 0)
        share = 0.01 if own or seed != seeds[0] else 0.8
        return {name: torch.tensor(share) for name in steps if name == measure}

    monkeypatch.setattr("agents.plasticity.auto.gauge.errors_removed", removed)
    auto = Auto(period=16, budget=1e6, steps=steps)
    patient(interventions=[auto], learning_rate=1e-2).learn(512)
    assert auto.last is not None
    assert (auto.last.measure, auto.last.trainability, auto.last.trials) == ("", None, {})
    assert auto.last.reason == (
        f"nothing can be told of trainability: {measure} seemed ill, but of a fresh network that was trained again "
        "less than 0.1 of the error is removed, too"
    )
    assert last == steps or last == 160


def test_a_candidate_of_which_nothing_can_be_told_is_not_called_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    auto = Auto(candidates=["head_reset"], period=1, steps=5, threshold=9.0)
    monkeypatch.setattr(Gauge, "again", lambda *_: None)
    own(auto).train(1)
    assert auto.last is not None
    assert auto.last.trials["head_reset"]["trainability"] is None
    assert auto.last.reason.endswith("with head_reset nothing finite; none regains 0.1")


@pytest.mark.parametrize(("rate", "steps"), [(1e-2, 5), (3e-4, 80), (1e-6, 160)])
def test_the_probe_takes_as_few_steps_as_tell_something(rate: float, steps: int) -> None:
    auto = Auto(period=1, budget=1e6, threshold=1e-9)
    own(auto, rate=rate).train(1)
    ((_, taken, removed),) = auto.state_dict()["gauge"]["fresh"]
    assert taken == steps
    assert (removed >= 0.1) is (rate > 1e-6)
    doublings = [5 * 2**doubled for doubled in range(int(math.log2(steps / 5)) + 1)]
    probes = doublings if rate == 1e-6 else [*doublings, steps]  # where nothing can be told its own is not looked at
    assert auto.metrics()["share"] == (sum(map(look_of, probes)) + LOOKING) / (16 + OVERHEAD)


def test_where_the_learning_rate_has_moved_a_fresh_network_is_looked_at_from_half_the_steps_on() -> None:
    auto = Auto(period=1, budget=1e6, threshold=1e-9)
    learner = own(auto, rate=3e-4).train(1)
    before = auto.state_dict()["gauge"]["spent"]
    learner.optimizers[0].param_groups[0]["lr"] = 2.9e-4
    learner.train(1)
    spent = auto.state_dict()["gauge"]["spent"] - before
    assert spent == look_of(40) + 2 * look_of(80) + LOOKING  # twice a fresh network, once its own


def test_where_fresh_networks_hardly_learn_nothing_can_be_told() -> None:
    auto = Auto(period=2, budget=1e6, steps=1)
    own(auto, rate=1e-6).train(4)
    assert auto.last is not None
    assert auto.last.reason.startswith(
        "nothing can be told of trainability: 1 steps at this learning rate remove less than 0.1"
    )
    assert "trainability" not in auto.metrics()


def test_of_observations_that_are_all_alike_nothing_can_be_told() -> None:
    auto = Auto(period=2, budget=1e6)
    learner = own(auto)
    learner.x.copy_(learner.x[0].clone())
    learner.train(2)
    assert auto.last is not None
    assert auto.last.reason == "nothing can be told: fresh networks put out the same for all observations"


def test_networks_of_other_modules_are_held_against_fresh_ones_of_these() -> None:
    found = []
    for replaced in (False, True):
        auto = Auto(candidates=["head_reset"], period=4, budget=1e6, steps=10, threshold=1e-9)
        learner = own(auto).train(4)
        if replaced:
            learner.module[1] = nn.Tanh()
        learner.train(4)
        found.append(learner.interventions[0].state_dict())
    assert [state["decisions"] for state in found] == [2, 2]
    one, other = (state["gauge"] for state in found)
    assert one["fresh"] != other["fresh"]
    assert other["spent"] == one["spent"] + look_of(10)
