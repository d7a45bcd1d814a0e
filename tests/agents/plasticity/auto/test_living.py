"""The closed loop revives dormant units that training does not miss yet, where that costs next to nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
import torch
from small_auto import OFTEN, own, saturate, silence
from small_loop import Regression
from small_ward import patient
from torch import nn

from agents.plasticity import Auto, PlasticOptimizer
from agents.plasticity.auto.gauge import BEGUN
from agents.plasticity.auto.living import DRAWS, LOOKING
from agents.plasticity.auto.living import FEWEST as FEWEST_OBSERVATIONS
from agents.plasticity.auto.trying import ACTING
from agents.plasticity.replicas import Replicas


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


@pytest.mark.parametrize("observations", [torch.zeros(64, 4), torch.ones(64, 4)], ids=["zeros", "ones"])
def test_of_observations_that_are_all_alike_nothing_is_told_of_units(observations: torch.Tensor) -> None:
    auto = Auto(**{**OFTEN, "threshold": 1e-9, "period": 1})
    learner = own(auto)
    with torch.no_grad():
        learner.module[0].bias.zero_()
        learner.x.copy_(observations)
    learner.train(1)
    assert auto.last is not None
    assert auto.last.living_units is None


def test_networks_may_see_other_numbers_of_rows() -> None:
    """Such as one that embeds each of three things, and one that reads their sums."""
    _, auto = in_a_loop(lambda networks, x: networks["shown"](networks["silent"](x.repeat(3, 1))[: len(x)] + x))
    assert auto.last is not None
    assert auto.last.living_units == 0.0


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
    # A fresh network and its own are trained, all draws looked at, and both candidates act.
    assert auto.state_dict()["gauge"]["spent"] == 2 * (10 + BEGUN) * 128 + DRAWS * LOOKING + 2 * ACTING


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
