"""Parameters that drift."""

import doctest
import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envs.drift
from envs import catalogue
from envs.drift import KINDS, Drift, Linear, RandomWalk, Sinusoidal, drift_from


def test_tables_agree() -> None:
    assert list(KINDS) == list(catalogue.DRIFTS)
    for kind, named in catalogue.DRIFTS.items():
        arguments = [argument.name for argument in fields(KINDS[kind]) if argument.init]
        assert sorted(arguments) == sorted(named.arguments)
        assert "\n" not in named.description


def test_examples_in_the_documentation() -> None:
    assert doctest.testmod(envs.drift) == (0, 9)


def test_linear() -> None:
    drift = Linear(10.0, 2.0, 8)
    assert [drift.value(step) for step in (0, 1, 4, 7, 8, 10**9)] == [10.0, 9.0, 6.0, 3.0, 2.0, 2.0]
    assert drift.bounds == (2.0, 10.0)
    assert Linear(-1.0, 3.0, 5).bounds == (-1.0, 3.0)


def test_it_is_constant_between_changes() -> None:
    drift = Linear(0.0, 10.0, 10, every=4)
    assert [drift.value(step) for step in range(14)] == [0.0] * 4 + [4.0] * 4 + [8.0] * 4 + [10.0] * 2
    wave = Sinusoidal(0.0, 1.0, 8, every=3)
    assert [wave.value(step) for step in range(3, 6)] == [math.sin(math.tau * 3 / 8)] * 3


def test_sinusoidal() -> None:
    drift = Sinusoidal(mean=2.0, amplitude=0.5, period=12)
    expected = [2.0, 2.25, 2.0 + 0.25 * 3**0.5, 2.5, 2.0, 1.5]
    np.testing.assert_allclose([drift.value(step) for step in (0, 1, 2, 3, 6, 9)], expected, rtol=1e-15)
    assert drift.bounds == (1.5, 2.5)
    assert Sinusoidal(2.0, 0.5, 12, phase=math.pi / 2).value(0) == 2.5


def test_a_walk_takes_gaussian_steps() -> None:
    walk = RandomWalk(1.0, 0.1, -50.0, 50.0, every=10).begin(3)
    steps = np.random.default_rng(3).standard_normal(200)
    free = 1.0 + 0.1 * np.cumsum(np.append(0.0, steps))
    assert [walk.value(10 * change) for change in range(201)] == free.tolist()
    assert {walk.value(step) for step in range(20, 30)} == {free[2]}


def test_a_walk_is_reflected() -> None:
    """From 0.9 a free step of +0.35 ends at 1.25, that is 0.25 below the bound of 1; of +1.3 at 2.2, back up at 0.2."""
    walk = RandomWalk(0.9, 1.0, 0.0, 1.0, seed=0)
    assert [round(walk._folded(value), 12) for value in (0.9, 1.25, 2.2, -0.25, -1.5, 3.0, 1.0, 0.0)] == [
        0.9,
        0.75,
        0.2,
        0.25,
        0.5,
        1.0,
        1.0,
        0.0,
    ]


@settings(max_examples=60, deadline=None)
@given(
    low=st.floats(-1e6, 1e6),
    width=st.floats(1e-3, 1e6),
    share=st.floats(0, 1),
    std=st.floats(0, 1e4),
    seed=st.integers(0, 2**40),
    steps=st.lists(st.integers(0, 3000), min_size=1, max_size=20),
)
def test_a_walk_stays_inside_and_does_not_depend_on_how_it_is_asked(
    low: float, width: float, share: float, std: float, seed: int, steps: list[int]
) -> None:
    high = low + width
    walk = RandomWalk(min(max(low + share * width, low), high), std, low, high, every=3).begin(seed)
    values = [walk.value(step) for step in steps]
    assert all(low <= value <= high for value in values)
    assert walk.bounds == (low, high)
    assert [walk.begin(seed).value(step) for step in steps] == values
    fresh = RandomWalk(walk.start, std, low, high, every=3, seed=seed)
    assert {step: fresh.value(step) for step in sorted(steps)} == dict(zip(steps, values, strict=True))


def test_a_far_step_equals_many_near_ones() -> None:
    far, near = (RandomWalk(0.0, 1.0, -10.0, 10.0, seed=5) for _ in range(2))
    values = [near.value(step) for step in range(0, 200_001, 64)]
    assert far.value(200_000) == values[-1]
    assert far.value(64) == values[1]


def test_a_reflected_walk_visits_all_of_its_range_alike() -> None:
    walk = RandomWalk(0.0, 0.5, 0.0, 1.0, seed=1)
    values = np.array([walk.value(step) for step in range(20_000)])
    counts = np.histogram(values, 10, (0, 1))[0]
    assert np.abs(counts - 2000).max() < 250  # neighbours are correlated: about twice a multinomial's deviation of 42


def test_seeds_of_segments() -> None:
    walk = RandomWalk(0.0, 1.0, -5.0, 5.0)
    with pytest.raises(ValueError, match=r"^a random walk without a seed has no values, got seed=None; give one, or"):
        walk.value(0)
    assert walk.begin(1).value(50) == walk.begin(1).value(50) != walk.begin(2).value(50)
    assert RandomWalk(0.0, 1.0, -5.0, 5.0, seed=7).begin(1).value(50) == walk.begin(7).value(50)
    line = Linear(0.0, 1.0, 5)
    assert line.begin(3) is line
    assert walk.begin(1) == walk.begin(1) != walk.begin(2)


def test_the_base_class_has_no_values() -> None:
    with pytest.raises(NotImplementedError):
        Drift().value(0)
    with pytest.raises(NotImplementedError):
        _ = Drift().bounds


def test_drifts_from_mappings() -> None:
    assert drift_from({"kind": "linear", "start": 10, "end": 2, "steps": 100}) == Linear(10, 2, 100)
    wave = {"kind": "sinusoidal", "mean": 1, "amplitude": 0.5, "period": 1e3, "phase": 1, "every": 10}
    assert drift_from(wave) == Sinusoidal(1, 0.5, 1000.0, 1, every=10)
    walk = {"kind": "random_walk", "start": 1, "std": 0.1, "low": 0, "high": 2, "every": 50}
    assert drift_from(walk) == RandomWalk(1, 0.1, 0, 2, every=50)
    assert len(walk) == 6  # the mapping is left as it was


_LINE: dict[str, Any] = {"kind": "linear", "start": 0, "end": 1, "steps": 5}
_WAVE: dict[str, Any] = {"kind": "sinusoidal", "mean": 0, "amplitude": 1, "period": 5}
_WALK: dict[str, Any] = {"kind": "random_walk", "start": 0, "std": 1, "low": -1, "high": 1}


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (5, "a drift must be a mapping with a kind, got 5; write {'kind': 'linear'"),
        ({"start": 5}, "a drift must be a mapping with a kind, got {'start': 5}; write"),
        (_LINE | {"kind": "lineal"}, "kind must be one of linear, sinusoidal, random_walk, got 'lineal'; did you mean"),
        (_LINE | {"kind": None}, "kind must be one of linear, sinusoidal, random_walk, got None"),
        (_LINE | {"stop": 5}, "the drift 'linear' takes no argument 'stop', only start, end, steps, every; "),
        (_WALK | {"_paths": []}, "the drift 'random_walk' takes no argument '_paths', only"),
        ({"kind": "linear", "start": 5}, "the drift 'linear' needs the argument 'end', got .*; give it"),
        (_LINE | {"start": "x"}, "start must be a finite number, got 'x'; give the value at the first step"),
        (_LINE | {"end": math.inf}, "end must be a finite number, got inf; give the last value"),
        (_LINE | {"steps": 0}, "steps must be a whole number of at least 1, got 0; give the steps from start to end"),
        (
            _LINE | {"every": 0},
            "every must be a whole number of at least 1, got 0; give a number of steps such as",
        ),
        (_WAVE | {"mean": None}, "mean must be a finite number, got None"),
        (_WAVE | {"amplitude": -1}, "amplitude must be a finite number of at least 0, got -1"),
        (_WAVE | {"period": 0}, "period must be a finite number above 0, got 0"),
        (_WAVE | {"phase": "0"}, "phase must be a finite number, got '0'"),
        (_WALK | {"std": -1}, "std must be a finite number of at least 0, got -1"),
        (_WALK | {"low": math.nan}, "low must be a finite number, got nan"),
        (_WALK | {"high": -1}, "high must be a finite number above -1.0, got -1; give the largest value, above low=-1"),
        (
            _WALK | {"start": 2},
            "start must be a finite number from -1.0 to 1.0, got 2; give a value between the bounds",
        ),
        (_WALK | {"seed": -3}, "seed must be a whole number of at least 0, got -3"),
        (_WALK | {"every": 1.5}, "every must be a whole number of at least 1, got 1.5"),
    ],
)
def test_refusals(mapping: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as refusal:
        drift_from(mapping)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("drift", [Linear(0, 1, 5), RandomWalk(0, 1, -1, 1, seed=0)])
def test_steps_and_seeds_are_whole_numbers(drift: Drift) -> None:
    with pytest.raises(ValueError, match=r"^step must be a whole number of at least 0, got -1; give the steps since"):
        drift.value(-1)
    with pytest.raises(
        ValueError, match=r"^seed must be a whole number of at least 0, got -1; give a number such as 0"
    ):
        drift.begin(-1)
