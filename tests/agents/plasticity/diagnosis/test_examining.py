"""What a diagnosis says of all that was measured."""

from __future__ import annotations

from agents.plasticity.diagnosis import Comparison, Diagnosis, Finding

HARMED, LEARNS = Comparison(0.2, (0.5,) * 9), Comparison(0.5, (0.5,) * 9)


def diagnosed(*findings: Finding, **scores: Comparison) -> Diagnosis:
    trainability = {f"{name}/trainability": score for name, score in scores.items()}
    return Diagnosis(findings, {}, trainability, {}, {}, outputs=("actor", "critic"))


def found(mechanism: str, network: str) -> Finding:
    return Finding(mechanism, network, network, 0.9, 0.9)


def test_what_is_harmed_is_explained_by_itself_or_by_what_it_reads_but_not_by_its_optimizer() -> None:
    assert diagnosed(actor=HARMED, critic=LEARNS).unexplained == ("actor",)
    assert diagnosed(actor=HARMED, critic=LEARNS).is_harmed
    assert not diagnosed(actor=LEARNS, critic=LEARNS).is_harmed
    assert diagnosed(found("dead units", "actor"), actor=HARMED).unexplained == ()
    assert diagnosed(found("dead units", "features"), actor=HARMED, features=HARMED).unexplained == ()
    assert diagnosed(found("dead units", "critic"), actor=HARMED).unexplained == ("actor",)
    assert diagnosed(found("dead units", "actor"), actor=HARMED, features=HARMED).unexplained == ("features",)
    assert diagnosed(found("stale optimizer", "actor"), actor=HARMED).unexplained == ("actor",)


def test_a_measure_tells_nothing_where_fresh_networks_hardly_learn() -> None:
    assert diagnosed(actor=Comparison(0.5, (0.1,) * 9), critic=LEARNS).untold == ("actor/trainability",)
