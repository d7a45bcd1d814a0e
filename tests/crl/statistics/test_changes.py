"""Changes of curves: by hand where nothing is noisy, else by how often they are taken for what they are not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crl.statistics.changes import FEWEST, Change, change_of

STEPS = [100.0 * n for n in range(1, 21)]


def found(values: list[float], **given: object) -> Change:
    change = change_of(STEPS[: len(values)], values, **given)  # type: ignore[arg-type]
    assert change is not None
    return change


def test_a_jump_is_between_two_points() -> None:
    change = found([1.0] * 8 + [5.0] * 12)
    assert (change.kind, change.begin, change.end) == ("sudden", 800, 900)
    assert (change.earliest, change.latest) == (800, 900)
    assert (change.before, change.after) == (pytest.approx(1), pytest.approx(5))
    assert change.support > 0.99


def test_a_slope_has_a_beginning_and_an_end() -> None:
    change = found([2.0] * 5 + [3.0, 4.0, 5.0, 6.0] + [7.0] * 11)
    assert (change.kind, change.begin, change.end) == ("gradual", 500, 1000)
    assert (change.earliest, change.latest) == (500, 500)
    assert (change.before, change.after) == (pytest.approx(2), pytest.approx(7))


def test_a_straight_line_changes_from_its_first_point_to_its_last() -> None:
    change = found([float(n) for n in range(20)], rising=True)
    assert (change.kind, change.begin, change.end) == ("gradual", 100, 2000)


@pytest.mark.parametrize("value", [0.0, 3.5])
def test_what_stays_as_it_is_has_no_change(value: float) -> None:
    change = found([value] * 20)
    assert change.kind == "none"
    assert math.isnan(change.begin)


def test_a_change_in_the_wrong_direction_is_none() -> None:
    falling = [5.0] * 10 + [1.0] * 10
    assert found(falling, rising=False).kind == "sudden"
    assert found(falling, rising=True).kind == "none"


def test_one_point_alone_is_no_change() -> None:
    assert found([1.0, 1.1] * 9 + [1.0, 9.0]).kind == "none"


def test_groups_have_levels_of_their_own() -> None:
    """Tasks by turns, of which the second one is 10 higher; from the eleventh point on both are 2 higher."""
    groups = [0, 1] * 10
    values = [10.0 * group + 2.0 * (n >= 10) for n, group in enumerate(groups)]
    change = found(values, groups=groups)
    assert (change.kind, change.begin, change.end) == ("sudden", 1000, 1100)
    assert (change.before, change.after) == (pytest.approx(5), pytest.approx(7))
    assert found(values).kind == "none"


def test_of_too_few_points_nothing_is_said() -> None:
    few = range(FEWEST - 1)
    assert change_of(few, few) is None
    assert change_of(range(FEWEST), range(FEWEST)) is not None
    assert change_of(range(FEWEST), range(FEWEST), groups=[0, 1] * (FEWEST // 2)) is None


def errors(generator: np.random.Generator, memory: float, points: int = 24) -> np.ndarray:
    """Of variance 1."""
    found = generator.normal(size=points)
    for n in range(1, points):
        found[n] = memory * found[n - 1] + math.sqrt(1 - memory**2) * found[n]
    return found


@pytest.mark.parametrize("memory", [0.0, 0.6, 0.9])
def test_errors_alone_are_seldom_taken_for_a_change(memory: float) -> None:
    generator = np.random.default_rng(1)
    kinds = [found_in(errors(generator, memory)).kind for _ in range(30)]
    assert kinds.count("none") >= 28


def found_in(values: np.ndarray) -> Change:
    change = change_of(range(len(values)), values, rising=True)
    assert change is not None
    return change


def test_changes_in_noise_are_found_where_they_are() -> None:
    generator, x = np.random.default_rng(2), np.arange(24)
    jumps = [found_in(6.0 * (x > 13) + errors(generator, 0.3)) for _ in range(12)]
    slopes = [found_in(12 * np.clip((x - 6) / 12, 0, 1) + errors(generator, 0.3)) for _ in range(12)]
    assert sum(each.kind == "sudden" for each in jumps) >= 11
    assert sum(each.earliest <= 13 and each.latest >= 14 for each in jumps) >= 11
    assert sum(each.kind == "gradual" for each in slopes) >= 8
    assert sum(each.earliest <= 6 <= each.latest for each in slopes if each.kind == "gradual") >= 7
