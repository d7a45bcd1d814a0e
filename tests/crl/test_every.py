"""What is due once in so many steps."""

from __future__ import annotations

from typing import Any

import pytest

from crl.every import Every

LOOKS = (4, 8, 12, 16, 29, 31, 40)


def done_at(every: Every) -> list[int]:
    found = []
    for step in LOOKS:
        if every.is_due(step):
            every.done(step)
            found.append(step)
    return found


def test_a_late_look_moves_all_that_follows_or_nothing() -> None:
    assert done_at(Every(10)) == [12, 29, 40]
    assert done_at(Every(10, multiples=True)) == [12, 29, 31, 40]
    assert done_at(Every(10, at_once=True)) == [4, 16, 29, 40]


def test_it_is_due_at_the_very_step_and_until_it_is_done() -> None:
    for every in (Every(10), Every(10, multiples=True)):
        assert [every.is_due(step) for step in (9, 10, 10, 25)] == [False, True, True, True]
        every.done(10)
        assert [every.is_due(step) for step in (10, 19, 20)] == [False, False, True]
    assert repr(every) == "Every(10, multiples=True), last at step 10"


def test_its_state_is_when_it_was_last_done() -> None:
    every, other = Every(10), Every(10)
    every.done(12)
    assert every.state() == 12
    other.restore(every.state())
    assert [other.is_due(step) for step in (21, 22)] == [False, True]


@pytest.mark.parametrize("state", [1.5, None, True, [10, 12], "xy"])
def test_another_state_is_refused(state: Any) -> None:
    with pytest.raises(ValueError, match="last done at step"):
        Every(10).restore(state)
