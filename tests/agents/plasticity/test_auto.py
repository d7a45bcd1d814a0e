"""The closed loop: it leaves agents alone that are well, and mends those that are ill; the same when gone on with."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import small_off_policy
import torch
from small_loop import Regression
from small_ppo import assert_same
from small_ward import patient
from torch import nn

from agents.plasticity import Auto, PlasticOptimizer
from agents.plasticity.auto.gauge import BEGUN, FEWEST, KEPT, SURE, Gauge
from agents.plasticity.auto.living import FEWEST as FEWEST_OBSERVATIONS
from agents.plasticity.auto.living import LOOKING
from agents.plasticity.auto.trying import ACTING, MINIBATCHES, OVERHEAD
from agents.plasticity.replicas import Replicas

OFTEN: dict[str, Any] = {"period": 8, "budget": 1e6, "steps": 10}


def kill(model: Any) -> None:
    with torch.no_grad():
        model.policy.mlp_extractor.policy_net[2].bias[:29] = -100.0


def saturate(model: Any) -> None:
    with torch.no_grad():
        model.policy.action_net.bias += torch.tensor([60.0, 0.0, 0.0])


def trained(interventions: list[Any], kind: str) -> Any:
    if kind == "ppo":
        return patient(interventions=interventions).learn(512)
    if kind == "loop":
        learner = Regression(interventions, batch_size=16)
        for _ in range(16):
            learner.train(1)
        return learner
    settings = {"buffer_size": 100, "batch_size": 8, "learning_rate": 0.01}
    return small_off_policy.ours(kind, interventions=interventions, **settings).learn(64)


@pytest.mark.parametrize("kind", ["ppo", "dqn-mlp", "sac-mlp", "td3-mlp", "loop"])
def test_an_agent_that_is_well_is_as_without_it_to_the_bit(kind: str) -> None:
    auto = Auto(**{**OFTEN, "threshold": 0.01, "living": 0.01, "steps": 5})
    found, plain = trained([auto], kind), trained([], kind)
    assert auto.last is not None
    assert (auto.last.applied, auto.last.trials) == ("none", {})
    assert_same(plain.snapshot(), found.snapshot())
    assert auto.metrics()["acts"] == 0


@pytest.mark.parametrize(("make", "applied"), [(kill, "redo"), (saturate, "head_reset")])
def test_what_ails_an_agent_is_mended_by_what_mends_it(make: Any, applied: str) -> None:
    auto = Auto(**{**OFTEN, "period": 16})
    model = patient(interventions=[auto], learning_rate=1e-2)
    make(model)
    model.learn(512)
    decision = auto.last
    assert decision is not None
    assert (decision.applied, decision.step, decision.timesteps) == (applied, 16, 512)
    assert decision.measure.startswith("actor/")
    assert decision.trainability is not None
    assert decision.trainability < 0.5 < decision.trials[applied]["trainability"]
    cost = decision.trials[applied]["cost"]
    assert decision.reason.endswith(f"{applied} brings it back at the least cost")
    assert decision.row()[f"{applied}/cost"] == cost
    for other, after in (of.values() for name, of in decision.trials.items() if name != applied):
        assert (other > cost) if after is None else (after < 0.5 and other < cost)  # dearer ones are not looked at
    unseen = [name for name, of in decision.trials.items() if of["trainability"] is None]
    dearer = {name: decision.trials[name]["cost"] for name in unseen}
    assert all(f"{name} at a cost of {other:.2g} not looked at" in decision.reason for name, other in dearer.items())
    assert bool(unseen) is (applied == "redo")
    assert auto.idle() is None


def silence(learner: Regression, units: int) -> None:
    with torch.no_grad():
        learner.module[0].bias[:units] = -100.0


def test_dormant_units_are_revived_where_training_does_not_miss_them_yet() -> None:
    auto = Auto(**{**OFTEN, "threshold": 0.01})
    learner = own(auto)
    silence(learner, 12)
    learner.train(8)
    decision = auto.last
    assert decision is not None
    assert (decision.measure, decision.applied) == ("net/living_units", "redo")
    assert decision.trainability is not None
    assert decision.trainability > 0.01
    assert decision.living_units is not None
    assert decision.living_units < 0.9 < decision.trials["redo"]["living_units"]
    assert decision.trials["redo"]["cost"] < 1e-3
    assert decision.row()["redo/living_units"] == decision.trials["redo"]["living_units"]
    assert auto.metrics()["living_units"] == decision.living_units
    assert learner.module[0].bias.min() > -1


@pytest.mark.parametrize("seed", range(6))
def test_units_of_networks_that_have_just_been_drawn_are_well(seed: int) -> None:
    """How many of them live is chance: beside one other fresh network some of these have too few."""
    auto = Auto(**{**OFTEN, "threshold": 1e-9, "period": 1})
    Regression([auto], batch_size=16, seed=seed, rate=1e-6).train(1)
    assert auto.last is not None
    assert auto.last.living_units is not None
    assert (auto.last.applied, auto.last.trials) == ("none", {})


def test_few_different_observations_tell_nothing_of_units() -> None:
    auto = Auto(**{**OFTEN, "threshold": 1e-9, "period": 1})
    learner = own(auto)
    silence(learner, 12)
    learner.x[FEWEST_OBSERVATIONS - 1 :] = learner.x[0].clone()
    learner.train(1)
    assert auto.last is not None
    assert (auto.last.living_units, auto.last.applied) == (None, "none")
    learner.x[FEWEST_OBSERVATIONS - 1] += 1.0
    learner.train(1)
    assert auto.last.living_units is not None
    assert auto.last.living_units < 0.9


def in_a_loop(outputs: Callable[[dict[str, nn.Module], torch.Tensor], torch.Tensor]) -> tuple[PlasticOptimizer, Auto]:
    torch.manual_seed(0)
    networks = {name: nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1)) for name in ("silent", "shown")}
    with torch.no_grad():
        networks["silent"][0].bias.fill_(-100.0)
    x, auto = torch.randn(64, 2), Auto(candidates=["head_reset"], period=1, budget=1e6, threshold=1e-9)
    optimizer = PlasticOptimizer(
        torch.optim.Adam([p for network in networks.values() for p in network.parameters()]), networks, [auto],
        sample=lambda n, generator: torch.randperm(64, generator=generator)[:n],
        sample_losses=lambda rows: outputs(networks, x[rows]).square().mean(1),
        outputs=lambda rows: outputs(networks, x[rows]),
    )  # fmt: skip
    with optimizer.forward():
        loss = networks["silent"](x).square().mean() + networks["shown"](x).square().mean()
    optimizer.step(loss)
    return optimizer, auto


def test_networks_that_do_not_run_where_outputs_are_made_are_left_out() -> None:
    _, auto = in_a_loop(lambda networks, x: networks["shown"](x))
    assert auto.last is not None
    assert auto.last.living_units is not None
    assert auto.last.living_units > 0.5


def test_of_networks_that_run_twice_nothing_is_told() -> None:
    _, auto = in_a_loop(lambda networks, x: networks["shown"](x) - networks["shown"](-x))
    assert auto.last is not None
    assert auto.last.living_units is None


def test_units_of_networks_without_numbers_are_not_counted() -> None:
    auto = Auto(candidates=["head_reset"], period=2, budget=1e6, steps=10)
    learner = own(auto).train(1)
    with torch.no_grad():
        learner.module[2].weight[3, 4] = math.nan
    learner.train(1)
    assert auto.last is not None
    assert (auto.last.measure, auto.last.living_units) == ("net/trainability", None)


def test_replicas_agree_on_whether_units_live(monkeypatch: pytest.MonkeyPatch) -> None:
    auto = Auto(**{**OFTEN, "threshold": 1e-9, "period": 1})
    mean = Replicas.mean

    def of_two(self: Replicas, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The other one has dead units alone."""
        return {name: each / 2 if name.endswith("living_units") else each for name, each in mean(self, tensors).items()}

    monkeypatch.setattr(Replicas, "mean", of_two)
    own(auto).train(1)
    assert auto.last is not None
    assert auto.last.measure == "net/living_units"
    assert auto.last.trials["redo"].keys() == {"cost", "living_units"}


def test_what_changes_outputs_is_nothing_for_dormant_units_alone() -> None:
    auto = Auto(candidates=["full_reset", "head_reset"], **{**OFTEN, "threshold": 0.01})
    learner = own(auto)
    silence(learner, 12)
    learner.train(8)
    assert auto.last is not None
    assert auto.last.applied == "none"
    assert all(of["living_units"] is None and of["cost"] > 0.01 for of in auto.last.trials.values())
    assert auto.last.reason.endswith("none regains 0.1 at a cost of at most 0.01")
    assert (learner.module[0].bias[:12] < -90).all()


def test_what_cannot_be_trained_and_has_dormant_units_is_mended_of_the_second_where_nothing_helps_the_first() -> None:
    auto = Auto(candidates=["redo"], **OFTEN)
    model = patient(interventions=[auto], learning_rate=1e-2)
    saturate(model)
    with torch.no_grad():
        model.policy.mlp_extractor.value_net[0].bias[:20] = -100.0
    model.learn(512)
    decision = auto.last
    assert decision is not None
    assert decision.applied == "redo"
    assert decision.measure == "critic/living_units"
    assert decision.reason.startswith("actor/policy_trainability is 0.0")
    assert "none regains 0.1; critic/living_units is" in decision.reason
    assert decision.trials["redo"].keys() == {"trainability", "living_units", "cost"}


def test_candidates_of_one_name_are_told_apart_as_interventions_are() -> None:
    auto = Auto(candidates=["redo", "head_reset", {"name": "redo", "tau": 0.5}], threshold=9.0, **OFTEN)
    own(auto).train(8)
    assert auto.last is not None
    assert list(auto.last.trials) == ["redo", "head_reset", "redo_2"]


def test_what_does_not_help_is_not_applied() -> None:
    auto = Auto(candidates=["redo"], living=0, **OFTEN)
    model = patient(interventions=[auto], learning_rate=1e-2)
    saturate(model)
    before = model.policy.action_net.bias.detach().clone()
    model.learn(512)
    assert auto.last is not None
    assert auto.last.applied == "none"
    assert auto.last.reason.endswith("none regains 0.1")
    assert (model.policy.action_net.bias - before).abs().max() < 2
    assert auto.idle() == auto.last.reason
    assert auto.last.living_units is None
    assert "living_units" not in auto.metrics()


def own(auto: Auto, rate: float = 1e-2) -> Regression:
    return Regression([auto], batch_size=16, rate=rate)


@pytest.mark.parametrize(("threshold", "measure"), [(9.0, "net/trainability"), (1e-9, "net/living_units")])
def test_a_loop_that_is_gone_on_with_decides_as_one_that_was_not_stopped(threshold: float, measure: str) -> None:
    def made() -> Regression:
        learner = own(Auto(candidates=["redo", "head_reset"], **{**OFTEN, "threshold": threshold}))
        silence(learner, 12)
        return learner

    whole, first = made(), made()
    for _ in range(12):
        whole.train(1)
        first.train(1)
    decided = whole.interventions[0]
    assert isinstance(decided, Auto)
    assert decided.last is not None
    assert (decided.last.measure, decided.last.applied == "none") == (measure, False)
    second = made()
    second.module.load_state_dict(first.module.state_dict())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for _ in range(8):
        whole.train(1)
        second.train(1)
    one, other = whole.interventions[0], second.interventions[0]
    assert isinstance(one, Auto)
    assert isinstance(other, Auto)
    assert one.decisions == other.decisions == 2
    assert one.last == other.last
    assert one.state_dict() == other.state_dict()
    assert_same(whole.parameters(), second.parameters())


def test_what_is_saved_decides_and_not_the_seed_of_what_takes_it() -> None:
    def made(seed: int) -> Regression:
        auto = Auto(candidates=["redo", "head_reset"], threshold=9.0, **OFTEN)
        return Regression([auto], batch_size=16, seed=seed)

    first = made(0).train(8)
    second = made(7).train(2)
    second.module.load_state_dict(first.module.state_dict())
    second.x, second.y = first.x, first.y
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    one, other = (learner.train(8).interventions[0].state_dict() for learner in (first, second))
    assert one["decisions"] == 2
    assert one == other


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
    spent = 4 * look_of(20) + LOOKING + 2 * ACTING + MINIBATCHES * step
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


@pytest.mark.parametrize("silent", [[2], [0], [0, 2]], ids=["last", "first", "both"])
def test_layers_that_are_silent_altogether_are_redrawn(silent: list[int]) -> None:
    """ReDo by itself leaves them, for a layer of zeros ranks nothing; here the probe tells whether that helps.

    What reads a layer that is redrawn as a whole must not be left with zeros: SB3's biases begin with 0, too.
    """
    auto = Auto(**{**OFTEN, "period": 16})
    model = patient(interventions=[auto], learning_rate=1e-2)
    layers = model.policy.mlp_extractor.policy_net
    with torch.no_grad():
        for number in silent:
            layers[number].bias.fill_(-100.0)
    model.learn(512)
    decision = auto.last
    assert decision is not None
    assert (decision.applied, decision.trainability) == ("redo", 0.0)
    assert decision.trials["redo"]["trainability"] > 0.5
    assert decision.trials["redo"]["cost"] < 1e-3
    assert all(layers[number].bias.min() > -1 for number in silent)
    if 0 in silent:
        assert (layers[2].weight.abs().sum(0) > 0).all()


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


def test_a_state_of_a_version_that_looked_at_all_with_as_many_steps_is_gone_on_with() -> None:
    first, second = (Auto(threshold=9.0, **OFTEN) for _ in range(2))
    learner, _ = own(first), own(second)
    for _ in range(8):
        learner.train(1)
    state = first.state_dict()
    gauge = state.pop("gauge")
    (last,) = copy.deepcopy(state["last"])
    for each in state["last"]:
        del each["living_units"]
        each["trials"] = {name: [of["trainability"], of["cost"]] for name, of in each["trials"].items()}
    before = {"spent": 7, "size": 10, "fresh": [["net/trainability", 0.5]], "rates": gauge["rates"], "ill": True}
    second.load_state_dict(copy.deepcopy(state) | before)
    assert second.last is not None
    assert second.last.row()["head_reset/cost"] == first.last.row()["head_reset/cost"]
    found = second.state_dict()
    assert found.pop("gauge")["spent"] == 7
    assert found == state | {"last": [last | {"living_units": None}]}


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


@pytest.mark.parametrize(("candidate", "after"), [("head_reset", None), ("full_reset", 1.0)])
def test_networks_that_are_no_numbers_are_ill_and_mended_by_what_draws_them_anew(
    candidate: str, after: float | None
) -> None:
    auto = Auto(candidates=[candidate], period=4, budget=1e6, steps=10)
    learner = own(auto).train(2)
    with torch.no_grad():
        learner.module[2].weight[3, 4] = math.nan
    learner.train(2)
    decision = auto.last
    assert decision is not None
    assert decision.trainability == 0.0
    assert decision.reason.startswith(
        "net/trainability is 0.00 of a fresh network's, below 0.5, for outputs are no finite numbers; with "
    )
    assert decision.trials[candidate]["trainability"] == (None if after is None else pytest.approx(after, abs=0.3))
    assert decision.applied == ("none" if after is None else candidate)
    assert decision.trials[candidate]["cost"] == (None if after is None else 0.0)
    assert all(p.isfinite().all() for p in learner.train(1).module.parameters()) is (after is not None)


def test_what_looks_at_losses_is_left_by_all_replicas_where_one_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that tried more than others would wait for them forever."""
    auto = Auto(candidates=["gxd", "full_reset"], period=2, budget=1e6, steps=10, threshold=9.0)
    learner = own(auto)
    mean = Replicas.mean

    def of_two(self: Replicas, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        found = mean(self, tensors)
        return {"": found[""] / 2} if list(found) == [""] else found

    monkeypatch.setattr(Replicas, "mean", of_two)
    learner.train(2)
    assert auto.last is not None
    assert auto.last.trials["gxd"] == {"trainability": None, "cost": None}
    assert auto.last.trials["full_reset"]["trainability"] is not None


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


def test_what_was_replaced_is_known_to_a_loop_that_is_gone_on_with() -> None:
    def made() -> Regression:
        return own(Auto(candidates=["head_reset"], period=4, budget=1e6, threshold=1e-9)).train(4)

    first, second = made(), own(Auto(candidates=["head_reset"], period=4, budget=1e6, threshold=1e-9))
    for learner in (first, second):
        learner.module[1] = nn.Tanh()
    second.module.load_state_dict(first.module.state_dict())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    one, other = (learner.train(4).interventions[0].state_dict() for learner in (first, second))
    assert one["decisions"] == 2
    assert one == other


REFUSED = [
    ({"candidates": []}, r"candidates is \[\]; give a list of interventions"),
    ({"candidates": "redo"}, "candidates is 'redo'; give a list of interventions"),
    ({"candidates": {"name": "redo"}}, "candidates is {'name': 'redo'}; give a list of interventions"),
    ({"candidates": ["reset"]}, "candidates has 'reset', but it is the general form of the other resets"),
    ({"candidates": ["redu"]}, "candidates has 'redu'; choose from gxd, "),
    ({"candidates": ["auto"]}, "candidates has 'auto', but it chooses from others"),
    ({"candidates": ["l2_init"]}, "candidates has 'l2_init', which acts in every gradient step, so that no single act"),
    (
        {"candidates": [{"name": "redo", "tau": -1}]},
        "candidates has 'redo', but tau is -1; give a threshold of at least 0",
    ),
    ({"period": 0}, "period is 0; give a whole number of gradient steps of at least 1"),
    ({"threshold": 0}, "threshold is 0; give a share of a fresh network's trainability above 0"),
    ({"living": -0.1}, "living is -0.1; give a share of a fresh network's living units of at least 0"),
    ({"budget": 0}, "budget is 0; give a share of training's compute above 0"),
    ({"steps": 0}, "steps is 0; give a number of gradient steps of at least 1"),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED)
def test_what_is_impossible_is_refused(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Auto(**arguments)


def test_what_does_not_fit_is_refused_where_the_agent_is_built() -> None:
    with pytest.raises(
        ValueError, match=r"^auto: candidates has 'plasticity_injection', which does not fit: the head "
    ):
        own(Auto(candidates=["plasticity_injection"]))
    with pytest.raises(ValueError, match=r"^auto and auto both decide what the networks need; leave one"):
        Regression([Auto(), Auto()])


def test_without_data_it_says_what_to_give() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = PlasticOptimizer(torch.optim.Adam(model.parameters()), model, [Auto(period=1, budget=1e6)])
    with optimizer.forward():
        loss = model(torch.ones(3, 2)).mean()
    with pytest.raises(ValueError, match="auto: it looks at a sample of the data at hand, but PlasticOptimizer has no"):
        optimizer.step(loss)


def test_its_arguments_are_what_it_was_given() -> None:
    given = {"candidates": ["redo"], "period": 7, "threshold": 0.4, "living": 0.5, "budget": 0.1, "steps": 9}
    assert Auto(**given).arguments() == given
    assert Auto().arguments()["candidates"] is None
