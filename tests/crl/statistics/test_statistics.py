"""Statistics over seeds, worked out by hand, and against rliable where that is installed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from crl import statistics
from crl.statistics import (
    Difference,
    Estimate,
    Sample,
    aggregates,
    estimate,
    holm,
    interquartile_mean,
    mean,
    median,
    optimality_gap,
    paired_difference,
    performance_profile,
    probability_of_improvement,
)


def alone(*scores: float, first: int = 0) -> Sample:
    """A seed for each score, in one task."""
    return Sample({first + place: {"a": score} for place, score in enumerate(scores)})


def random(seeds: int, tasks: int, shift: float = 0.0) -> Sample:
    drawn = np.random.default_rng(seeds).normal(0.8 + shift, 0.3, (seeds, tasks))
    return Sample({seed: dict(zip("abcdefgh", row, strict=False)) for seed, row in enumerate(drawn.tolist())})


GRID = Sample({3: {"a": 0.0, "b": 4.0, "c": 8.0}, 1: {"b": 6.0, "a": 2.0, "c": 16.0}})


def test_a_sample_knows_its_axes() -> None:
    assert Sample({seed: {"a": 1.0} for seed in np.arange(2)}).seeds == (0, 1)  # numpy's whole numbers are seeds, too
    assert (GRID.seeds, GRID.tasks) == ((1, 3), ("b", "a", "c"))
    assert GRID.values.tolist() == [[6, 2, 16], [4, 0, 8]]


@pytest.mark.parametrize(
    ("scores", "problem"),
    [
        (np.eye(3), "does not say which of its axes are the seeds"),
        ({1: [1.0, 2.0]}, "does not say which of its axes are the seeds"),
        ({}, "at least one seed and one task"),
        ({1: {}}, "at least one seed and one task"),
        ({1: {"a": 1.0}, 2: {"b": 1.0}}, "seed 2 has scores of b, and seed 1 of a; give each seed one for each task"),
        (
            {"a": {1: 1.0, 2: 2.0}, "b": {1: 2.0, 2: 3.0}},
            "'a' is no seed, which is a whole number; give seed -> task -> sc",
        ),
        ({1: {"a": float("nan")}}, "a score is not finite"),
    ],
    ids=["matrix", "rows", "nothing", "no task", "other tasks", "transposed", "nan"],
)
def test_samples_that_are_refused(scores: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Sample(scores)


def test_aggregates() -> None:
    assert mean(GRID.values) == 6  # of 1, 5 and 12
    assert median(GRID.values) == 5
    assert median(alone(1, 2, 9).values) == 2  # of one task, over its seeds
    assert interquartile_mean(GRID.values) == (2 + 4 + 6 + 8) / 4  # of six scores one falls away at either end
    assert optimality_gap(np.array([[0.5, 2.0], [1.0, 0.1]])) == pytest.approx(1 - (0.5 + 1 + 1 + 0.1) / 4)


def test_fewer_than_five_seeds_claim_nothing() -> None:
    four, five = alone(1, 2, 3, 4), alone(1, 2, 3, 4, 5)
    assert estimate(four, mean) == Estimate(2.5)
    assert probability_of_improvement(four, five) == Estimate((0.5 * 4 + 0 + 1 + 2 + 3) / 20)
    assert paired_difference(four, five) == Difference((0, 1, 2, 3), 0)
    found = estimate(five, mean)
    assert (found.value, found.low is not None, found.high is not None) == (3, True, True)


def test_an_interval_is_the_percentiles_of_all_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = (0.0, 1.0, 2.0, 4.0, 8.0)
    every = [sum(each) / 5 for each in itertools.product(scores, repeat=5)]
    low, high = np.quantile(every, [0.025, 0.975])
    monkeypatch.setattr(aggregates, "AT_ONCE", 5000)  # in many batches
    found = estimate(alone(*scores), mean)
    assert found == estimate(alone(*scores), mean)
    assert found.low == pytest.approx(low, abs=0.21)  # means are fifths
    assert found.high == pytest.approx(high, abs=0.21)


def test_whole_runs_keep_the_tasks_of_a_run_together() -> None:
    opposed = Sample({seed: {"a": float(seed), "b": 10.0 - seed} for seed in range(6)})
    whole, apart = (estimate(opposed, mean, whole_runs=each) for each in (True, False))
    assert whole == Estimate(5.0, 5.0, 5.0)  # each run's mean is 5
    assert (apart.value, apart.low < 4.6, apart.high > 5.4) == (5.0, True, True)  # type: ignore[operator]


def test_probability_of_improvement() -> None:
    found = probability_of_improvement(alone(1, 2, 3, 4, 5), alone(3, 3, 3, 3, 3))
    assert found.value == (0 + 0 + 0.5 + 1 + 1) / 5
    assert probability_of_improvement(alone(9, 9, 9, 9, 9), alone(1, 2, 3, 4, 5)) == Estimate(1, 1, 1)
    with pytest.raises(ValueError, match="the samples are of different tasks, a and b"):
        probability_of_improvement(alone(1), Sample({1: {"b": 1.0}}))


def test_paired_differences() -> None:
    ours, theirs = alone(3, 4, 6, 7, 10), alone(1, 2, 3, 4, 5)  # differences 2, 2, 3, 3, 5
    found = paired_difference(ours, theirs)
    assert found is not None
    # Mean 3, standard deviation sqrt(1.5), standard error sqrt(.3), t 5.477 with 4 degrees: 2.7764 x .5477 are 1.5207.
    assert (found.seeds, found.value) == ((0, 1, 2, 3, 4), 3)
    assert (found.low, found.high) == pytest.approx((3 - 1.5207, 3 + 1.5207), abs=1e-4)
    assert found.p == pytest.approx(0.00541, abs=1e-4)
    assert paired_difference(ours, alone(1, 2, first=9)) is None
    some = paired_difference(ours, alone(1, 2, 3, first=3))
    assert some == Difference((3, 4), (7 - 1 + 10 - 2) / 2)
    assert paired_difference(ours, ours) == Difference((0, 1, 2, 3, 4), 0, 0, 0, 1)
    assert paired_difference(alone(*[500] * 5), alone(*[400] * 5)) == Difference((0, 1, 2, 3, 4), 100, 100, 100, 0)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


def test_performance_profiles() -> None:
    found = performance_profile(alone(1, 2, 3, 4, 5), [0, 3, 5])
    assert [each.value for each in found] == [1, 0.4, 0]
    assert found[0] == Estimate(1, 1, 1)


AGGREGATES = ("mean", "median", "interquartile_mean", "optimality_gap")


@pytest.fixture
def rliable(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """Its two modules, with an `arch` that no longer takes the argument which rliable gives it."""
    metrics, library = (pytest.importorskip(f"rliable.{name}") for name in ("metrics", "library"))
    for kind in (library.arch_bs.IIDBootstrap, library.arch_bs.IndependentSamplesBootstrap):
        made = kind.__init__
        monkeypatch.setattr(
            kind, "__init__", lambda self, *args, made=made, random_state=None, **rest: made(self, *args, **rest)
        )
    np.random.seed(0)
    return metrics, library


@pytest.mark.rliable
@pytest.mark.parametrize("shape", [(5, 3), (7, 5), (10, 2)])
def test_rliable_agrees(shape: tuple[int, int], rliable: tuple[Any, Any]) -> None:
    metrics, library = rliable
    ours, theirs = random(*shape), random(shape[0] + 2, shape[1], 0.1)
    oracles = (
        metrics.aggregate_mean, metrics.aggregate_median, metrics.aggregate_iqm, metrics.aggregate_optimality_gap,
    )  # fmt: skip
    values, intervals = library.get_interval_estimates(
        {"ours": ours.values}, lambda x: np.array([each(x) for each in oracles]), reps=3000
    )
    found = [estimate(ours, getattr(statistics, name)) for name in AGGREGATES]
    assert [each.value for each in found] == pytest.approx(values["ours"].tolist())
    assert [each.low for each in found] == pytest.approx(intervals["ours"][0].tolist(), abs=0.03)
    assert [each.high for each in found] == pytest.approx(intervals["ours"][1].tolist(), abs=0.03)

    value, ends = library.get_interval_estimates(
        {"pair": [ours.values, theirs.values]}, metrics.probability_of_improvement, reps=500
    )
    better = probability_of_improvement(ours, theirs)
    assert better.value == pytest.approx(value["pair"])
    assert [better.low, better.high] == pytest.approx(ends["pair"].ravel().tolist(), abs=0.06)

    thresholds = [0.2, 0.8, 1.1]
    profile, bands = library.create_performance_profile({"ours": ours.values}, thresholds, reps=2000)
    drawn = performance_profile(ours, thresholds)
    assert [each.value for each in drawn] == pytest.approx(profile["ours"].tolist())
    assert [each.low for each in drawn] == pytest.approx(bands["ours"][0].tolist(), abs=0.07)
    assert [each.high for each in drawn] == pytest.approx(bands["ours"][1].tolist(), abs=0.07)
