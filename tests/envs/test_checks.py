"""Refusals in one sentence."""

import numpy as np
import pytest

from envs.checks import check_choice, check_int, closest, did_you_mean


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_become_int(value: object) -> None:
    assert type(check_int("n", value, 3, "x")) is int
    assert check_int("n", value, 3, "x") == 3


@pytest.mark.parametrize("value", [2, True, 3.0, "3", None, np.float32(4)])
def test_everything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^n_envs must be a whole number of at least 3, got .*; give more$"):
        check_int("n_envs", value, 3, "give more")


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
