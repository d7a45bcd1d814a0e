"""From signs to findings, with numbers by hand."""

from __future__ import annotations

import pytest

from agents.plasticity.diagnosis.mechanisms import (
    Comparison,
    confidence_of,
    diverging,
    findings,
    harmed,
    stale,
    strength_of,
    unmissed,
)

LEARNS, HARMED = Comparison(0.5, (0.5,) * 9), Comparison(0.2, (0.5,) * 9)
NETWORKS = {"actor": ["actor.0"], "features": ["features.0"]}
SCORES = {"actor/trainability": HARMED, "features/trainability": HARMED, "actor/policy_trainability": HARMED}


def fresh(value: float, middle: float) -> Comparison:
    return Comparison(value, (middle,) * 9)


@pytest.mark.parametrize(
    ("sign", "value", "usual", "strength"),
    [
        ("dormant_units", 0.8, 0.2, 0.75),  # 20% alive of 80%
        ("dormant_units", 0.1, 0.2, 0.0),
        ("feature_rank", 0.1, 0.4, 0.75),
        ("weight_size", 3.0, 1.0, 2 / 3),  # a step is a third of what it was
        ("certainty", 1.0, 0.5, 1.0),
        ("dormant_units", 1.0, 1.0, 0.0),  # nothing could be lost
    ],
)
def test_the_strength_is_the_share_that_is_gone(sign: str, value: float, usual: float, strength: float) -> None:
    assert strength_of(sign, fresh(value, usual)) == pytest.approx(strength)


def test_the_confidence_is_the_share_of_fresh_ones_that_have_more() -> None:
    assert confidence_of([0.5, 0.6, 0.7], 0.55) == 2 / 4
    assert confidence_of([0.5] * 19, 0.4) == 0.95
    assert confidence_of([0.5] * 19, 0.5) == 0.0


def test_a_network_is_harmed_by_more_than_a_tenth_of_the_error_and_more_than_chance() -> None:
    assert harmed(Comparison(0.2, (0.5,) * 9)) == 0.9
    assert harmed(Comparison(0.41, (0.5,) * 9)) is None
    assert harmed(Comparison(0.0, (0.09,) * 9)) is None  # nobody learns anything to speak of
    assert harmed(Comparison(0.2, (0.5,) * 8 + (0.1,))) is None


def test_dead_units_that_are_not_felt_are_not_found_but_told() -> None:
    signs = {
        "actor.0/dormant_units": fresh(0.7, 0.2),
        "actor.0/unmoved_units": fresh(0.9, 0.0),
        "features.0/dormant_units": fresh(0.5, 0.2),  # less than half is gone
        "features.0/unmoved_units": fresh(0.9, 0.0),
    }
    scores = {"actor/trainability": Comparison(0.6, (0.5,) * 9), "features/trainability": LEARNS}
    assert findings(signs, scores, NETWORKS, ["actor"]) == []
    (found,) = unmissed(signs, scores, NETWORKS, ["actor"])
    assert (found.mechanism, found.place, found.confidence) == ("dead units", "actor.0", 0.9)
    assert found.strength == pytest.approx(1 - 0.3 / 0.8)
    assert found.trainability == pytest.approx(1.2)
    assert unmissed(signs, SCORES, NETWORKS, ["actor"]) == []
    perhaps = Comparison(0.3, (0.9,) * 8 + (0.2,) * 2)  # harm, which is not beyond chance
    assert unmissed(signs, {**scores, "actor/trainability": perhaps}, NETWORKS, ["actor"]) == []
    signs["features.0/dormant_units"] = fresh(0.7, 0.2)
    assert [each.network for each in unmissed(signs, scores, NETWORKS, ["actor"])] == ["actor", "features"]
    ill = {**scores, "actor/policy_trainability": HARMED}  # the actor reads the features
    assert unmissed(signs, ill, NETWORKS, ["actor"]) == []
    assert unmissed(signs, {**scores, "actor/policy_trainability": HARMED}, NETWORKS, ["actor"]) == []
    assert (
        unmissed(signs, {"actor/trainability": Comparison(0.05, (0.05,) * 9)}, NETWORKS, ["actor"]) == []
    )  # nothing is told


def test_what_is_shown_and_felt_is_found() -> None:
    signs = {"actor.0/dormant_units": fresh(0.9, 0.0), "actor.0/unmoved_units": fresh(0.8, 0.0)}
    (found,) = findings(signs, SCORES, NETWORKS, ["actor"])
    assert (found.mechanism, found.network, found.place) == ("dead units", "actor", "actor.0")
    assert (found.strength, found.confidence) == (pytest.approx(0.8), 0.9)
    assert found.trainability == pytest.approx(0.4)
    assert found.signs == {"dormant_units": 0.9, "unmoved_units": 0.8}
    # By one sign alone, by less than a half, or where it is not felt, it is nothing.
    assert not findings({**signs, "actor.0/unmoved_units": fresh(0.4, 0.0)}, SCORES, NETWORKS, ["actor"])
    assert not findings(signs, {**SCORES, "actor/trainability": LEARNS}, NETWORKS, ["actor"])
    assert not findings(signs, {}, NETWORKS, ["actor"])


def test_what_follows_from_something_else_is_left_out() -> None:
    rank = {"actor.0/feature_rank": fresh(0.01, 0.5), "actor/kernel_rank": fresh(0.01, 0.5)}
    dead = {"features.0/dormant_units": fresh(0.9, 0.0), "features.0/unmoved_units": fresh(0.9, 0.0)}
    assert [each.mechanism for each in findings(rank, SCORES, NETWORKS, ["actor"])] == ["rank collapse"]
    upstream = findings(rank | dead, SCORES, NETWORKS, ["actor"])
    assert [(each.mechanism, each.network) for each in upstream] == [("dead units", "features")]
    # Two that bring each other about in neither way are both there, the stronger first.
    both = {"actor/certainty": fresh(0.99, 0.5), "actor/weight_size": fresh(3.0, 1.0)}
    assert [each.mechanism for each in findings(both, SCORES, NETWORKS, ["actor"])] == [
        "saturated policy",
        "norm growth",
    ]


def test_a_stale_optimizer_remembers_more_than_twice_what_any_gradient_is() -> None:
    assert stale("actor", [0.1] * 19 + [0.6]) is None
    assert stale("actor", [0.0] * 19) is None  # there is nothing to learn, and no gradient that it makes small
    found = stale("actor", [0.1] * 18 + [0.2])
    assert found is not None
    assert (found.strength, found.confidence) == (pytest.approx(0.8), 0.95)


@pytest.mark.parametrize("rounded", [-1e-7, 0.0, 1e-7])
def test_values_that_grow_on_and_on_diverge(rounded: float) -> None:
    found = diverging("critic", {step: 2.0**step * (1 + rounded * (step == 3)) for step in range(7)})
    assert found is not None
    assert (found.strength, found.signs) == (pytest.approx(1 - 1 / 8), {"growth": pytest.approx(8.0)})
    assert found.confidence == 1 - 1 / 8


@pytest.mark.parametrize(
    "sizes",
    [
        [1, 2, 4, 8],  # too few to tell
        [0.1, 1, 5, 9, 12, 14, 15],  # learning
        [1, 2, 4, 8, 16, 15, 64],  # not on and on
        [1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6],  # slow
        [0, 0, 0, 0, 0, 0],
    ],
)
def test_others_do_not(sizes: list[float]) -> None:
    assert diverging("critic", dict(enumerate(sizes))) is None
