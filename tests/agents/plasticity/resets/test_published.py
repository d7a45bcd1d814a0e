"""The published methods: their defaults, and what each of them resets."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch
from small_loop import Regression

from agents.plasticity import CBP, CPR, GXD, ReDo, ReGraMa, UnitReset
from agents.plasticity.criteria import normalized
from agents.plasticity.taps import Taps

RENEWED = {"outgoing": "zero", "compensate": False, "biases": "renew", "moments": "renew", "targets": "leave"}
KEPT = {**RENEWED, "biases": "keep", "moments": "keep"}
RATE = {"name": "rate", "rate": 1e-4, "cap": 0.5}

# METHODS 14.1.
DEFAULTS: dict[str, tuple[UnitReset, dict[str, Any]]] = {
    "gxd": (
        GXD(),
        {
            "criterion": {"name": "gxd", "reduction": "abs_mean"},
            "selection": RATE,
            "period": 1000,
            "maturity": 1000,
            "score_every": 16,
            "decay": 0.99,
        },
    ),
    "gxd against the mean": (
        GXD(reference="mean", reduction="mean_abs"),
        {"criterion": {"name": "gxd", "reduction": "mean_abs"}, "surgery": {**RENEWED, "compensate": True}},
    ),
    "gxd of outputs": (GXD(signal="outputs"), {"signal": "outputs", "selection": RATE}),
    "gxd with a budget": (GXD(budget=0.1), {"selection": {"name": "budget", "share": 0.1, "cap": 0.5}}),
    "redo": (
        ReDo(),
        {
            "criterion": {"name": "redo"},
            "selection": {"name": "threshold", "tau": 0.025, "cap": 1.0, "allow_full": False},
            "period": 1000,
            "maturity": 0,
            "score_on": "sample",
            "samples": 1024,
        },
    ),
    "regrama": (
        ReGraMa(),
        {
            "criterion": {"name": "regrama", "normalize": False},
            "selection": {"name": "threshold", "tau": 0.01, "cap": 0.05, "allow_full": False},
            "period": 1000,
            "maturity": 1000,
            "score_every": 1,
            "decay": 0.9,
        },
    ),
    "regrama of the paper": (
        ReGraMa(gradient="preactivations"),
        {"criterion": {"name": "regrama_preactivation"}, "surgery": RENEWED},
    ),
    "regrama of activations": (ReGraMa(gradient="activations"), {"criterion": {"name": "regrama_activation"}}),
    "regrama of the code": (
        ReGraMa(outgoing="keep"),
        {"criterion": {"name": "regrama", "normalize": False}, "surgery": {**RENEWED, "outgoing": "keep"}},
    ),
    "cbp": (
        CBP(),
        {
            "criterion": {"name": "contribution", "form": "plain"},
            "selection": RATE,
            "period": 1000,
            "maturity": 10_000,
            "score_every": 16,
            "decay": 0.99,
        },
    ),
    "cbp of the paper": (
        CBP(paper=True),
        {"selection": RATE, "period": 1, "maturity": 10_000, "score_every": 1, "decay": 0.99},
    ),
    "cbp of the older paper": (
        CBP(form="adaptable", compensate=True),
        {"criterion": {"name": "contribution", "form": "adaptable"}, "surgery": {**RENEWED, "compensate": True}},
    ),
    "cpr": (
        CPR(),
        {
            "criterion": {"name": "regrama", "normalize": True},
            "selection": {"name": "calibrated", "rate": 0.015, "sharpness": 16.0, "threshold": 1.0},
            "surgery": KEPT,
            "period": 1000,
            "maturity": 0,
            "score_every": 16,
            "decay": 0.99,
        },
    ),
    "cpr of the paper": (CPR(paper=True), {"period": 1000, "score_every": 1, "surgery": KEPT}),
}


@pytest.mark.parametrize("method", DEFAULTS)
def test_defaults_are_the_published_ones(method: str) -> None:
    reset, expected = DEFAULTS[method]
    expected = {"surgery": RENEWED, "networks": None, "score_on": "minibatch", "signal": "loss", **expected}
    found = {key: getattr(reset, key) for key in expected}
    found["surgery"] = {key: value for key, value in reset.surgery.items() if key != "scale"}
    assert found == expected
    assert type(reset)(**reset.arguments()).arguments() == reset.arguments()


def test_paper_gives_way_to_what_is_given() -> None:
    reset = CBP(paper=True, period=7, score_every=3)
    assert (reset.period, reset.score_every) == (7, 3)
    assert CPR(paper=True, score_every=3).score_every == 3
    assert CBP(score_every=3).period == 1000
    assert CBP(paper=True).arguments() == {
        "networks": None, "rate": 1e-4, "form": "plain", "compensate": False, "period": 1, "maturity": 10_000,
        "score_every": 1, "paper": True,
    }  # fmt: skip


def test_each_says_where_it_comes_from() -> None:
    for method in (GXD, ReDo, ReGraMa, CBP, CPR):
        text = inspect.getdoc(method)
        assert text is not None
        assert "arXiv" in text
        for argument in inspect.signature(method).parameters:
            assert f"{argument}: " in text
    assert "our reading" in " ".join(str(inspect.getdoc(GXD)).split())


# ---------------------------------------------------------------------------------------------------- GXD


@pytest.mark.parametrize("reference", ["zero", "mean"])
def test_gxd_replaces_the_cheapest_units(reference: str) -> None:
    reset = GXD(rate=0.1, reference=reference, period=4, maturity=0, score_every=1)
    learner = Regression([reset], rate=0.0)
    with Taps(learner.networks["net"].layers) as taps:
        learner.loss(learner.module(learner.x), learner.y).mean().backward()
    expected = {}
    for name, (a, g) in taps.read().items():
        r = a.mean(0) if reference == "mean" else torch.zeros(())
        expected[name] = (g * (r - a)).abs().sum(0)
    head = learner.module[4].bias.detach().clone()
    with torch.no_grad():
        lost = learner.module[4].weight * taps.activations["net.1"].mean(0)
    learner.train(4)
    for name, utility in expected.items():
        assert set(learner.units(name)) == set(utility.argsort()[:8].tolist())
    moved = lost[:, learner.units("net.1")].sum(1) if reference == "mean" else torch.zeros(3)
    torch.testing.assert_close(learner.module[4].bias.detach(), head + moved)


def test_gxd_stays_within_its_budget() -> None:
    reset = GXD(budget=0.05, period=2, maturity=0, score_every=1)
    learner = Regression([reset], rate=0.0)
    size = float(learner.loss(learner.module(learner.x), learner.y).detach().abs().mean())
    learner.train(2)
    metrics = reset.metrics()
    assert learner.count() > 2
    assert 0 < metrics["gxd/unit_costs"] <= 0.05 * size * 1.0001
    assert learner.samples == [256, 256]  # the size of the loss, and the probe


# ---------------------------------------------------------------------------------------------------- ReDo


def test_redo_resets_dormant_units_and_no_others() -> None:
    learner = Regression([ReDo(tau=0.025, period=1)], rate=1e-9)
    layer = learner.networks["net"].layers[1]
    with torch.no_grad():
        layer.producer.bias[[2, 5, 11]] = -100.0
        score = learner.module[:4](learner.x).mean(0)
    learner.train(1)
    assert learner.units("net.1") == (score <= 0.025 * score.mean()).nonzero().flatten().tolist()
    assert set(learner.units("net.1")) >= {2, 5, 11}
    assert len(learner.units("net.1")) < 20
    assert not layer.producer.bias[[2, 5, 11]].eq(-100).any()
    assert learner.samples[0] == 1024


def test_redo_leaves_a_layer_that_is_silent_altogether_unless_allowed() -> None:
    """METHODS 15.9."""
    for allow_full, expected in ((False, 0), (True, 20)):
        reset = ReDo(period=1, allow_full=allow_full)
        learner = Regression([reset])
        with torch.no_grad():
            learner.networks["net"].layers[0].producer.bias.fill_(-100.0)
        learner.train(1)
        assert (len(learner.units("net.0")) if learner.edits else 0) == expected
        assert reset.metrics()["warnings/redo/net/no_signal"] == 1.0


# ---------------------------------------------------------------------------------------------------- ReGraMa


def test_regrama_scores_weight_gradients_and_keeps_to_its_cap() -> None:
    learner = Regression([ReGraMa(tau=1.0, period=6, maturity=0, score_every=1, cap=0.1)])
    with torch.no_grad():
        learner.networks["net"].layers[0].producer.bias[[4, 9]] = -100.0  # no activation, so no weight gradient
    learner.train(6)
    assert learner.units("net.0") == [4, 9]
    assert len(learner.units("net.1")) == 2  # the cap: a tenth of 20, although half the units are below the mean


def test_regrama_needs_no_taps_for_weights() -> None:
    assert ReGraMa().needs == frozenset()
    assert ReGraMa(gradient="preactivations").needs == {"preactivation_grads"}
    assert ReGraMa(gradient="activations").needs == {"activation_grads"}


def dying(seed: int) -> Regression:
    """Two hidden ReLU layers, of which some units are silent on all examples; a tenth, and what chance adds."""
    learner = Regression(seed=seed, rate=0.0, width=40)
    with torch.no_grad():
        for number in (0, 2):
            learner.module[number].bias[torch.randperm(40)[:4]] = -100.0
    return learner


@pytest.mark.parametrize("gradient", ["weights", "preactivations"])
def test_regrama_at_threshold_zero_flags_the_dead_units_and_no_others(gradient: str) -> None:
    """As the paper states of dormant ReLU units; on minibatches, and on a sample."""
    dead = 0
    for seed in range(20):
        learner = dying(seed)
        silent = {f"net.{n}": ~learner.module[: 2 * n + 2](learner.x).any(0) for n in (0, 1)}
        reset = ReGraMa(gradient=gradient, tau=0.0, cap=1.0, period=1, maturity=0)
        for score_on in ("minibatch", "sample"):
            general = UnitReset(
                criterion=reset.criterion, selection=reset.selection, period=1, maturity=0, score_every=1,
                score_on=score_on, samples=64,
            )  # fmt: skip
            learner.interventions[:] = [general]
            learner.edits.clear()
            general.attach(learner)
            before = learner.parameters()
            learner.train(1)
            learner.module.load_state_dict(before)
            for name, mask in silent.items():
                assert learner.units(name) == mask.nonzero().flatten().tolist()
        dead += sum(int(mask.sum()) for mask in silent.values())
    assert dead >= 160


def test_regrama_of_activations_does_not_tell_the_dead_from_the_living() -> None:
    learner = dying(0)
    reset = ReGraMa(gradient="activations", tau=0.0, cap=1.0, period=1, maturity=0)
    learner.interventions.append(reset)
    reset.attach(learner)
    learner.train(1)
    assert learner.edits == []


def test_regrama_scores_the_penalties_gradients_too() -> None:
    """They are in ``.grad``: that is the released code's form."""
    learner = Regression([ReGraMa(tau=0.5, period=1, maturity=0, score_every=1, cap=1.0)])
    learner.y = learner.module(learner.x).detach()  # the loss sends nothing
    learner.interventions[0].penalty = lambda update: learner.module[0].weight[5:].sum()
    learner.train(1)
    assert learner.units("net.0") == [0, 1, 2, 3, 4]


# ---------------------------------------------------------------------------------------------------- CBP


@pytest.mark.parametrize("form", ["plain", "centred", "adaptable"])
def test_cbp_replaces_what_contributes_least(form: str) -> None:
    learner = Regression([CBP(rate=0.1, form=form, period=2, maturity=0, score_every=1)], rate=0.0)
    with torch.no_grad():
        a = learner.module[:4](learner.x)
        size = a.abs() if form == "plain" else (a - a.mean(0)).abs()
        utility = size.mean(0) * learner.module[4].weight.abs().mean(0)
        if form == "adaptable":
            utility /= learner.module[2].weight.abs().mean(1)
    learner.train(2)
    assert set(learner.units("net.1")) == set(utility.argsort()[:4].tolist())


def test_cbp_of_the_paper_acts_at_every_step() -> None:
    learner = Regression([CBP(rate=0.05, maturity=0, paper=True)]).train(4)
    assert learner.resets_at() == [1, 2, 3, 4]


# ---------------------------------------------------------------------------------------------------- CPR


def test_cpr_mixes_every_unit_by_its_score() -> None:
    reset = CPR(rate=0.4, sharpness=3.0, threshold=0.8, period=1, score_every=1)
    learner = Regression([reset], rate=0.0)
    learner.loss(learner.module(learner.x), learner.y).mean().backward()
    score = normalized(learner.module[0].weight.grad.abs().mean(1))
    before, bias = learner.parameters(), learner.module[0].bias.detach().clone()
    learner.train(1)
    expected = [0.4 * min(1.0, 2 / (1 + math.exp(3 * (float(u) - 0.8)))) for u in score]
    amounts = learner.edits[0][1].amounts["net.0"]
    torch.testing.assert_close(amounts, torch.tensor(expected))
    assert amounts.min() > 0
    torch.testing.assert_close(learner.module[4].weight.detach(), before["4.weight"] * (
        1 - learner.edits[0][1].amounts["net.1"]
    ))  # fmt: skip
    assert torch.equal(learner.module[0].bias, bias)
    moments = learner.optimizers[0].state[learner.module[0].weight]
    assert moments["exp_avg"].any()
    assert learner.units_reset() == {"net": round(float(sum(a.sum() for a in learner.edits[0][1].amounts.values())))}
    assert int(reset.state_dict()["born/net.0"].sum()) == 0  # no unit is new
