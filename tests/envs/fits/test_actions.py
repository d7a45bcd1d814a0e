"""Actions of the stream, and the games' own that stand for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from shaped import games_of, shaped

from envs.fits import fit_games
from envs.fits.actions import names_of, plan_box, plan_union

BREAKOUT, FREEWAY = ("noop", "left", "right"), ("noop", "up", "down")


def union(*meanings: Any, names: Any = None) -> Any:
    owners = [[f"t{number}"] for number in range(len(meanings))]
    return plan_union(owners, [Discrete(len(own)) for own in meanings], meanings, names)


def played(spec: Any, space: Any, actions: Any, active: Any = None) -> list[float]:
    """The rewards of two games that give their own action as reward."""
    games = games_of(shaped("a", np.zeros(1, np.float32), space))
    fitted = fit_games(games, [] if spec is None else [spec])
    fitted.reset(seed=0)
    rewards: list[float] = fitted.step(np.array(actions), active)[1].tolist()
    return rewards


def test_actions_keep_their_meaning_and_others_do_nothing() -> None:
    found = union(BREAKOUT, FREEWAY)
    assert found.space == Discrete(5)
    assert found.sentence == (
        "actions are noop, left, right, up, down; in t0 up, down do noop; in t1 left, right do noop"
    )
    assert [spec[1]["actions"] for spec in found.specs] == [[0, 1, 2, 0, 0], [0, 0, 0, 1, 2]]
    assert played(found.specs[1], Discrete(3), [3, 4]) == [1, 2]
    assert played(found.specs[1], Discrete(3), [1, 4]) == [0, 2]
    assert played(found.specs[1], Discrete(3), [4, 4], np.array([False, True])) == [0, 2]


def test_a_list_is_the_union_in_its_order() -> None:
    found = union(BREAKOUT, FREEWAY, names=("fire", "down", "up", "right", "left", "noop"))
    assert [spec[1]["actions"] for spec in found.specs] == [[0, 0, 0, 2, 1, 0], [0, 2, 1, 0, 0, 0]]
    whole = union(("left", "noop"), names=("left", "noop"))
    assert whole.specs == [None]


def test_actions_may_begin_with_another_number() -> None:
    found = plan_union([["a"], ["b"]], [Discrete(2, start=4), Discrete(2)], [("noop", "go")] * 2, None)
    assert played(found.specs[0], Discrete(2, start=4), [0, 1]) == [4, 5]
    assert found.specs[1] is None


@pytest.mark.parametrize("actions", [[0, 5], [-1, 0]])
def test_actions_out_of_range_are_refused(actions: Any) -> None:
    with pytest.raises(ValueError, match="actions must be from 0 to 4, got"):
        played(union(BREAKOUT, FREEWAY).specs[0], Discrete(3), actions)


def test_refusals_of_unions() -> None:
    with pytest.raises(ValueError, match=r"'t1' does not say what its 2 actions mean; say it with actions: \[noop"):
        plan_union([["t0"], ["t1"]], [Discrete(3), Discrete(2)], [BREAKOUT, ()], None)
    with pytest.raises(ValueError, match="'t0' has the actions left, right and lacks noop, up, down, but has no noop"):
        union(("left", "right"), FREEWAY)
    with pytest.raises(ValueError, match="task 't1' has several actions of a name, noop, noop, up; tell them apart"):
        union(BREAKOUT, ("noop", "noop", "up"))
    with pytest.raises(ValueError, match=r"spaces\.actions lists noop, left, and task 't0' also has right; add what"):
        union(BREAKOUT, names=("noop", "left"))
    with pytest.raises(ValueError, match=r"task 't1' has actions Box\(.*\), of which there is no union"):
        plan_union([["t0"], ["t1"]], [Discrete(3), Box(-1, 1, (2,))], [BREAKOUT, ()], None)
    for given in (["left", "LEFT "], [], [3], ["", "a"], [" ", "a"]):
        with pytest.raises(ValueError, match=r"actions must be different names, got .*; write \[noop, left, right\]"):
            names_of("actions", given)


# ---------------------------------------------------------------------- continuous


def test_the_last_numbers_are_left_to_those_that_have_them() -> None:
    short, long = Box(-1, 1, (1,)), Box(-1, 1, (3,))
    found = plan_box([["a"], ["b"]], [short, long])
    assert found.space == long
    assert found.specs[1] is None
    assert found.sentence == "actions are 3 numbers; a takes the first 1"
    assert played(found.specs[0], short, [[0.25, 9, 9], [-1, 9, 9]]) == [0.25, -1]


def test_other_bounds_are_reached_at_the_same_place_between_them() -> None:
    """Of -1 to 1 the number 0.5 lies three quarters up, which of 0 to 4 is 3, and of -2 to 2 is 1."""
    first, other = Box(-1, 1, (2,)), Box(np.array([0, -2], np.float32), np.array([4, 2], np.float32))
    found = plan_box([["a"], ["b"]], [first, other])
    assert found.space == first
    assert found.specs[0] is None
    assert "each at the same place between its task's own bounds" in found.sentence
    assert played(found.specs[1], other, [[0.5, 0.5], [-1, 1]]) == [4, 2]
    one = Box(np.array([0, 3], np.float32), np.array([4, 3], np.float32))  # 3 is the only value of its second number
    for spaces, given, own in (([first, one], [0.5, 1], 3 + 3), ([one, first], [3, 3], 0.5 - 1)):
        assert played(plan_box([["a"], ["b"]], spaces).specs[1], spaces[1], [given, given]) == [own, own]
    # The first task that has a number says its bounds.
    assert plan_box([["a"], ["b"]], [Box(-3, 3, (1,)), first]).space == Box(
        np.array([-3, -1], np.float32), np.array([3, 1], np.float32)
    )


@pytest.mark.parametrize("space", [Discrete(2), Box(-1, 1, (2, 2)), Box(-np.inf, np.inf, (2,))])
def test_refusals_of_boxes(space: Any) -> None:
    with pytest.raises(ValueError, match=r"spaces\.actions is 'pad', but task 'b' has actions .*, no vector of"):
        plan_box([["a"], ["b"]], [Box(-1, 1, (1,)), space])
