"""What a closed loop decides, in `decisions.csv`, on the screen and in TensorBoard."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat

from agents.plasticity import GXD, Auto
from agents.plasticity.auto import Decision
from crl.monitoring import decisions_of

WELL = Decision(2, 20, "critic/trainability", 0.9, "none", "well")
TRIALS = {"redo": {"trainability": 0.8, "cost": 0.5}}
ILL = Decision(4, 40, "critic/trainability", 0.2, "redo", "ill, and mended", TRIALS)


def part_of(auto: Auto, folder: Path, outputs: list[Any] | None = None) -> Any:
    (part,) = decisions_of([GXD(), auto])
    part.run = SimpleNamespace(folder=folder)
    part.model = SimpleNamespace(logger=Logger(None, outputs or []))
    part._on_training_start()
    return part


def decide(auto: Auto, decision: Decision) -> None:
    auto.last = decision
    auto.decisions += 1


def test_each_is_written_once_and_those_of_the_ill_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts: list[tuple[str, str, int]] = []
    board = object.__new__(TensorBoardOutputFormat)
    board.writer = SimpleNamespace(add_text=lambda *given: texts.append(given))  # type: ignore[assignment]
    auto = Auto()
    part = part_of(auto, tmp_path, [board])
    part.update_ended()
    for decision in (WELL, ILL):
        decide(auto, decision)
        part.update_ended()
        part.update_ended()
    part.close()
    rows = list(csv.DictReader((tmp_path / "decisions.csv").read_text().splitlines()))
    assert [row["decision"] for row in rows] == ["none", "redo"]
    assert rows[1] | {"reason": ""} == {
        "step": "40", "gradient_step": "4", "measure": "critic/trainability", "trainability": "0.2", "decision": "redo",
        "reason": "", "redo/trainability": "0.8", "redo/cost": "0.5",
    }  # fmt: skip
    assert capsys.readouterr().out == "auto, step 40: ill, and mended\n"
    assert texts == [("auto/decision", "**redo**: ill, and mended", 40)]


def test_what_was_decided_before_this_run_or_its_kill_is_not_written_again(tmp_path: Path) -> None:
    auto = Auto()
    decide(auto, WELL)
    part = part_of(auto, tmp_path)
    part.update_ended()
    assert (tmp_path / "decisions.csv").read_text() == ""
    decide(auto, ILL)
    part.update_ended()
    part.close()
    assert [row["step"] for row in csv.DictReader((tmp_path / "decisions.csv").read_text().splitlines())] == ["40"]


def test_runs_without_a_closed_loop_have_no_such_part() -> None:
    assert decisions_of([GXD()]) == []
