"""What the terminal shows of an ablation."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from crl.ablation import board
from crl.ablation.board import Board
from crl.ablation.launching import Launcher
from crl.ablation.loop import Status


def statuses() -> dict[str, Status]:
    told = {"step": 400, "task": "level_1", "speed": 20.0, "memory": 350_000_000}
    return {
        "a__s1": Status(1000, "running", 400, told, here=True),
        "b__s1": Status(1000, "running", 100, {"speed": 10}),
        "c__s1": Status(1000, "done", 1000),
        "d__s1": Status(1000, "failed", 3, why="it\x1b[2Jfell"),
        "e__s1": Status(1500),
    }


def test_the_sum_of_all() -> None:
    """Left are 600 + 900 + 1500 steps at 30 a second."""
    assert board.seconds_left(statuses()) == 100
    assert board.summary(statuses()) == "1 of 5 done, 2 running, 1 failed, about 0:01:40 left"
    assert board.summary({"a": Status(5)}) == "0 of 1 done"


def test_a_row_of_the_table() -> None:
    found = statuses()
    assert board.row("a__s1", found["a__s1"]) == [
        "a__s1", "level_1", "400 of 1,000", "40%", "20", "0.35 GB", "0:00:30",
    ]  # fmt: skip
    assert board.row("b__s1", found["b__s1"]) == [
        "b__s1 (elsewhere)", "-", "100 of 1,000", "10%", "10", "-", "0:01:30",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [None, True, "5", float("nan"), float("inf"), 10**400, -1, [1]])
def test_what_others_tell_may_be_anything(value: Any) -> None:
    status = Status(10, "running", 1, {"speed": value, "memory": value, "task": value}, here=True)
    cells = board.row("a", status)
    assert (cells[4], cells[5], cells[6]) == ("-", "-", "-")
    assert board.seconds_left({"a": status}) is None


def test_the_table_shows_what_goes_on_and_what_has_failed() -> None:
    found, output = statuses(), io.StringIO()
    shown = Board(found, clock=lambda: 0.0)
    shown.show(stopping=True)
    Console(file=output, width=120).print(shown.table())
    text = output.getvalue()
    for name, there in {"a__s1": True, "b__s1 (elsewhere)": True, "c__s1": False, "e__s1": False}.items():
        assert (name in text) == there
    assert "failed: d__s1: it\\x1b[2Jfell" in text
    assert text.splitlines()[-2:] == [board.summary(found), Launcher.stopping]


def test_without_a_terminal_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    found = {"a": Status(10, "running"), "b": Status(10)}
    with Board(found, clock=lambda: now[0]) as shown:
        shown.changed("a", found["a"])
        for now[0] in (100.0, 299.0, 301.0, 400.0):
            shown.show()
        shown.show(stopping=True)
        shown.show(stopping=True)
        found["a"].state, found["a"].why = "failed", "a full disk"
        shown.changed("a", found["a"])
    assert capsys.readouterr().out.splitlines() == [
        "a: running at step 0 of 10; 0 of 2 done, 1 running",
        "0 of 2 done, 1 running",
        Launcher.stopping,
        "a: failed at step 0 of 10: a full disk; 0 of 2 done, 1 failed",
    ]


HELD_UP = (
    "b has had its turn for 0:05:10, and 2 runs of its team wait for it; if its environment hangs, kill process 1234 "
    "of node: all go on from their checkpoints"
)


def test_a_run_that_holds_others_up_is_told_once_as_long_as_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    told = {"turn_of": "b", "turn": 310.0, "pid": 1234, "machine": "node 5f2c"}
    found = {name: Status(10, "running", told=told) for name in "abc"}
    found |= {"d": Status(10, "running", told={"turn_of": ["b"]}), "e": Status(10, "running", told={"turn_of": "\x1b"})}
    assert board.holding_up(found) == {"b": HELD_UP}
    with Board(found, clock=lambda: 0.0) as shown:
        for there in (told, told, {}, told):
            found |= {name: Status(10, "running", told=there) for name in "abc"}
            shown.show()
        assert str(shown.table().renderables[1]) == HELD_UP
    assert capsys.readouterr().out.splitlines() == [HELD_UP] * 2
