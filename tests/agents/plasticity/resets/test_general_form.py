"""The general form of a unit reset equals the named ones, and its parts go together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_loop import Regression

from agents.plasticity import CBP, CPR, GXD, ReDo, ReGraMa, UnitReset
from agents.plasticity.registry import CRITERIA, SELECTIONS

NAMED: dict[str, tuple[Callable[..., UnitReset], dict[str, Any]]] = {
    "gxd": (
        lambda **schedule: GXD(rate=0.02, **schedule),
        {"criterion": "gxd", "selection": {"name": "rate", "rate": 0.02}},
    ),
    "gxd against the mean": (
        lambda **schedule: GXD(rate=0.02, reference="mean", reduction="mean_abs", **schedule),
        {
            "criterion": {"name": "gxd", "reduction": "mean_abs"},
            "selection": {"name": "rate", "rate": 0.02},
            "surgery": {"compensate": True},
        },
    ),
    "gxd of outputs": (
        lambda **schedule: GXD(rate=0.02, signal="outputs", **schedule),
        {"criterion": "gxd", "selection": {"name": "rate", "rate": 0.02}, "signal": "outputs"},
    ),
    "gxd with a budget": (
        lambda **schedule: GXD(budget=0.05, **schedule),
        {"criterion": "gxd", "selection": {"name": "budget", "share": 0.05}},
    ),
    "regrama": (
        lambda **schedule: ReGraMa(tau=0.8, cap=0.2, **schedule),
        {"criterion": "regrama", "selection": {"name": "threshold", "tau": 0.8, "cap": 0.2}, "decay": 0.9},
    ),
    "regrama of the paper": (
        lambda **schedule: ReGraMa(tau=0.8, cap=0.2, gradient="preactivations", outgoing="small_random", **schedule),
        {
            "criterion": "regrama_preactivation",
            "selection": {"name": "threshold", "tau": 0.8, "cap": 0.2},
            "surgery": {"outgoing": "small_random"},
            "decay": 0.9,
        },
    ),
    "cbp": (
        lambda **schedule: CBP(rate=0.02, form="centred", compensate=True, **schedule),
        {
            "criterion": {"name": "contribution", "form": "centred"},
            "selection": {"name": "rate", "rate": 0.02},
            "surgery": {"compensate": True},
        },
    ),
}


def assert_same_choice(named: UnitReset, general: UnitReset) -> None:
    assert named.name != general.name == "reset"
    one, other = (Regression([reset]) for reset in (named, general))
    for learner in (one, other):
        learner._sample = lambda n, generator: torch.arange(64)  # all, whatever the seed
        learner.train(6)
    ((_, left),), ((_, right),) = one.edits, other.edits
    assert left.amounts.keys() == right.amounts.keys()
    for name, amounts in left.amounts.items():
        assert amounts.any()
        assert not (amounts == 1).all()
        assert torch.equal(amounts, right.amounts[name])
    left, right = named.state_dict(), general.state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left if key.startswith(("utility", "mean", "born")))
    # Seeds differ by the name, so that what is drawn differs: what is cut off does not.
    cut = one.module[2].weight == 0
    if named.surgery["outgoing"] == "zero" and cut.any():
        assert torch.equal(cut, other.module[2].weight == 0)
    for key in (
        "criterion",
        "selection",
        "surgery",
        "period",
        "maturity",
        "score_every",
        "decay",
        "score_on",
        "signal",
    ):
        assert getattr(named, key) == getattr(general, key), key


@pytest.mark.parametrize("form", NAMED)
def test_the_general_form_equals_the_named_one(form: str) -> None:
    named, general = NAMED[form]
    schedule = {"period": 6, "maturity": 3, "score_every": 2}
    assert_same_choice(named(**schedule), UnitReset(**general, **schedule))


def test_the_general_form_equals_redo() -> None:
    general = UnitReset(
        criterion="redo", selection={"name": "threshold", "tau": 0.8}, period=6, maturity=0, score_every=1, decay=0.0,
        score_on="sample", samples=32,
    )  # fmt: skip
    assert_same_choice(ReDo(tau=0.8, period=6, samples=32), general)


def test_the_general_form_equals_cpr() -> None:
    general = UnitReset(
        criterion={"name": "regrama", "normalize": True},
        selection={"name": "calibrated", "rate": 0.3, "sharpness": 8.0},
        surgery={"biases": "keep", "moments": "keep"},
        period=6,
        maturity=0,
        score_every=2,
    )
    assert_same_choice(CPR(rate=0.3, sharpness=8.0, period=6, score_every=2), general)


COMBINED = [
    (criterion, selection)
    for criterion in CRITERIA
    for selection in SELECTIONS
    if (selection != "budget" or criterion == "gxd")
    and (selection != "absolute" or criterion == "random")
    and (selection != "threshold" or criterion != "silence")  # of which all are alike here
]


SELECTED = {
    "rate": {"rate": 0.05}, "threshold": {"tau": 0.9}, "percentage": {"share": 0.2}, "budget": {"share": 0.2},
    "calibrated": {"rate": 0.5}, "absolute": {"tau": 0.5},
}  # fmt: skip


@pytest.mark.parametrize(("criterion", "selection"), COMBINED)
@pytest.mark.parametrize("score_on", ["minibatch", "sample"])
def test_every_criterion_goes_with_every_selection(criterion: str, selection: str, score_on: str) -> None:
    reset = UnitReset(
        criterion=criterion, selection={"name": selection, **SELECTED[selection]}, score_on=score_on, period=2,
        maturity=1, score_every=1,
    )  # fmt: skip
    learner = Regression([reset])
    for _ in range(4):
        learner.train(1)
    assert learner.edits
    assert 0 < sum(float(a.sum()) for a in learner.edits[0][1].amounts.values()) < 40
    assert all(parameter.isfinite().all() for parameter in learner.module.parameters())
