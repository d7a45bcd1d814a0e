"""Which remedy gives back what is lost, and what is said of those that cannot be tried."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_ppo import assert_same, parameters
from small_ward import patient

from agents.plasticity import ReDo, match
from agents.plasticity.diagnosis import Finding, Trial, usual
from agents.plasticity.registry import INTERVENTIONS

FEW: dict[str, Any] = {"steps": 8, "observations": 64}


@pytest.fixture(scope="module")
def ill() -> Any:
    """An agent most of whose actor's last hidden units are dead."""
    model = patient(learning_rate=1e-2).learn(512)
    with torch.no_grad():
        model.policy.mlp_extractor.policy_net[2].bias[:29] = -100.0
    return model


def test_the_remedy_is_named_with_what_it_costs_and_nothing_was_touched(ill: Any) -> None:
    before, random = parameters(ill), torch.get_rng_state()
    harsh = {"name": "head_reset", "layers": 1}
    trials = match(ill, [harsh, "redo", "weight_clipping", "plasticity_injection", "oracle", "auto"], **FEW)
    assert_same(before, parameters(ill))
    assert torch.equal(random, torch.get_rng_state())
    names = [trial.candidate["name"] for trial in trials]
    assert names == ["redo", "weight_clipping", "head_reset", "plasticity_injection", "oracle", "auto"]
    redo, clipping, head, injection, *_ = trials
    measure, was, now = redo.lowest
    assert measure.startswith("actor/")
    assert was < 0.6 < 0.9 < now
    assert redo.regained == now - was
    assert redo.changes["actor"] < 1e-3 < head.changes["critic"]  # silent units are replaced without a change
    assert head.loss_changes["critic"] > redo.loss_changes["critic"]
    assert (head.candidate, head.at_switches, redo.at_switches) == (harsh, True, False)
    assert redo.before == head.before != clipping.before  # which is held against a copy that was trained
    assert redo.memory > 0 < redo.seconds
    assert injection.hindrance.startswith("the head of actor is not built for it; give agent.injectable=true")
    assert [trial.hindrance for trial in trials[4:]] == [
        "it is a fresh agent, with which others are compared",
        "it chooses from others",
    ]


def test_where_none_are_given_all_that_are_registered_by_then_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """And ReDo, which by itself leaves a layer that is silent altogether, as it redraws that."""
    silent = patient(learning_rate=1e-2).learn(512)
    with torch.no_grad():
        silent.policy.mlp_extractor.policy_net[2].bias.fill_(-100.0)
    monkeypatch.setitem(INTERVENTIONS, "late", INTERVENTIONS["redo"])
    trials = match(silent, **FEW)
    regained = {str(trial.candidate): trial.regained for trial in trials if trial.candidate["name"] in ("redo", "late")}
    whole = regained.pop("{'name': 'redo', 'allow_full': True}")
    assert regained == {"{'name': 'redo'}": 0.0, "{'name': 'late'}": 0.0}
    assert whole > 0.5
    assert len(trials) == len(INTERVENTIONS) + 2


def test_what_is_known_need_not_be_measured_again(ill: Any) -> None:
    known = {"actor/trainability": (0.1, 0.5), "critic/trainability": (0.2, 0.0)}
    (trial,) = match(ill, ["shrink_and_perturb"], known=known, **FEW)
    assert trial.before == {"actor/trainability": 0.2}  # fresh critics learn nothing, so that it tells nothing
    assert trial.after.keys() == {"actor/trainability"}


@pytest.mark.parametrize(
    ("candidates", "sentence"),
    [
        (["redu"], "candidates has 'redu'; choose from gxd, redo"),
        ([{"tau": 1.0}], "candidates has None; choose from"),
        ([{"name": ["redo"]}], r"candidates has \['redo'\]; choose from"),
        ([ReDo()], "candidates has <.*ReDo object.*>; give its name, or a mapping of its name and arguments"),
        ("redo", "candidates is 'redo'; give a list of interventions"),
        ({"name": "redo"}, "candidates is {'name': 'redo'}; give a list of interventions"),
    ],
)
def test_names_that_are_not_known_are_refused(candidates: Any, sentence: str, ill: Any) -> None:
    with pytest.raises(ValueError, match=sentence):
        match(ill, candidates)


def test_impossible_arguments_are_told(ill: Any) -> None:
    wrong = [{"name": "redo", "tau": -1.0}, {"name": "redo", "tow": 1.0}]
    hindrances = [trial.hindrance for trial in match(ill, wrong, known={}, **FEW)]
    assert hindrances[0].startswith("tau is -1.0; give a threshold")
    assert hindrances[1].startswith("it has no argument 'tow'; choose from networks, tau, ")


def test_the_general_reset_is_tried_where_its_criterion_and_selection_are_named(ill: Any) -> None:
    named = {"name": "reset", "criterion": "redo", "selection": {"name": "threshold", "tau": 0.1}}
    first, second = match(ill, ["reset", named], **FEW)
    assert (first.candidate, first.hindrance) == (named, "")
    assert first.regained > 0.3
    assert second.hindrance.endswith("name its criterion and selection")


def tried(name: str, before: float, after: float) -> Trial:
    return Trial({"name": name}, before={"actor/trainability": before}, after={"actor/trainability": after})


def test_what_is_usually_named_beside_what_was_measured() -> None:
    findings = [
        Finding("dead units", "actor", "actor.0", 0.9, 0.9),
        Finding("saturated policy", "actor", "actor", 1, 1),
    ]
    trials = [tried("redo", 0.3, 0.9), tried("regrama", 0.3, 0.5)]
    (found,) = usual(findings, trials)  # nothing is usually named for a policy that has saturated
    assert (found.usual, found.best, found.agrees) == ("regrama", {"name": "redo"}, False)
    assert (found.regained, found.most) == (pytest.approx(0.2), pytest.approx(0.6))
    (found,) = usual(findings, [tried("redo", 0.3, 0.9), tried("regrama", 0.3, 0.81)])
    assert found.agrees
    (found,) = usual(findings, [Trial({"name": "regrama"}, "it does not fit")])
    assert (found.regained, found.best, found.agrees) == (None, None, False)
