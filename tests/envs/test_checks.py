"""Refusals in one sentence."""

import numpy as np
import pytest

from envs.checks import check_choice, check_int, check_number, closest, did_you_mean


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_become_int(value: object) -> None:
    assert type(check_int("n", value, 3, "x")) is int
    assert check_int("n", value, 3, "x") == 3


@pytest.mark.parametrize("value", [2, True, 3.0, "3", None, np.float32(4)])
def test_everything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^n_envs must be a whole number of at least 3, got .*; give more$"):
        check_int("n_envs", value, 3, "give more")


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int8(2)])
def test_numbers_become_float(value: object) -> None:
    assert type(check_number("g", value, "x", above=1)) is float
    assert check_number("g", value, "x") == 2.0


@pytest.mark.parametrize("value", [1.0, float("nan"), float("inf"), True, "2", None, 2j, [2.0]])
def test_other_numbers_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^g must be a finite number above 1, got .*; give more$"):
        check_number("g", value, "give more", above=1)


def test_numbers_within_bounds_that_belong_to_them() -> None:
    assert [check_number("p", value, "x", low=0, high=1) for value in (0, 0.5, np.float32(1))] == [0.0, 0.5, 1.0]
    assert type(check_number("p", 1, "x", low=0)) is float
    for value in (-0.1, 1.1, float("nan"), True, "0.5", None):
        with pytest.raises(ValueError, match=r"^p must be a finite number from 0 to 1, got .*; give another$"):
            check_number("p", value, "give another", low=0, high=1)
    for value in (-1, float("inf")):
        with pytest.raises(ValueError, match=r"^p must be a finite number of at least 0, got .*; give another$"):
            check_number("p", value, "give another", low=0)


def test_a_number_without_a_bound() -> None:
    assert check_number("g", -1e300, "x") == -1e300
    with pytest.raises(ValueError, match=r"^g must be a finite number, got -inf; give less$"):
        check_number("g", -float("inf"), "give less")


def test_choice() -> None:
    assert check_choice("order", "shuffle", ["shuffle", "random"]) == "shuffle"
    with pytest.raises(ValueError, match="order must be one of shuffle, random, got 'Shufle'; did you mean 'shuffle'"):
        check_choice("order", "Shufle", ["shuffle", "random"])
    with pytest.raises(ValueError, match=r"got 3$"):
        check_choice("order", 3, ["shuffle", "random"])


def test_did_you_mean() -> None:
    assert did_you_mean("cartpole-v1", ["CartPole-v1", "Pendulum-v1"]) == "; did you mean 'CartPole-v1'?"
    assert did_you_mean("zzz", ["CartPole-v1"]) == ""


def test_closest() -> None:
    assert closest("Brakeout", ["asterix", "breakout"]) == "breakout"
    assert closest(7, ["asterix"]) is None
