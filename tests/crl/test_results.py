"""The summary: one screen, whatever the stream and the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from crl import results as reports


def results(tasks: list[str], visits: int) -> dict[str, Any]:
    return {
        "status": "done", "steps": 1_234_567, "seconds": 12.34, "resets": {"actor": 3, "critic": 0},
        "folder": "runs/x", "tensorboard": "tensorboard --logdir runs",
        "visits": [
            {
                "task": task, "family": task, "visit": visit, "mean_return": None if task == "silent" else 10.0 * visit,
                "episodes": 0 if task == "silent" else 7, "over": "last tenth" if visit % 2 else "last episodes",
            }
            for visit in range(1, visits + 1)
            for task in tasks
        ],
    }  # fmt: skip


def shown(found: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> list[str]:
    reports.show(found)
    return capsys.readouterr().out.splitlines()


def test_what_is_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    lines = shown(results(["loud", "silent", "[/odd] name"], visits=2), capsys)
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert cells == [
        ["loud", "10.00 (7)", "20.00 (7)*"], ["silent", "-", "-"], ["[/odd] name", "10.00 (7)", "20.00 (7)*"],
    ]  # fmt: skip
    assert lines[-4:] == [
        "units reset: actor 3, critic 0", "done: 1,234,567 steps in 12.3 s", "run folder: runs/x",
        "curves: tensorboard --logdir runs",
    ]  # fmt: skip


@pytest.mark.parametrize(("columns", "expected"), [(40, [9]), (80, [7, 8, 9]), (200, [4, 5, 6, 7, 8, 9])])
def test_the_last_visits_that_fit(
    columns: int, expected: list[int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = shown(results(["space_invaders"], visits=9), capsys)
    assert [visit for visit in range(1, 10) if any(f"visit {visit} " in line for line in lines)] == expected
    assert any("space_invaders" in line for line in lines)


def test_many_tasks_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(results([f"task{number}" for number in range(50)], visits=1), capsys)
    assert sum(line.startswith("│ task") for line in lines) == 20
    assert any("30 more in results.json" in line for line in lines)
    assert len(lines) < 35


def test_the_command_for_the_curves_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "tensorboard"
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", "")
    assert reports.tensorboard_command(Path("my runs")) == f"{program} --logdir 'my runs'"
    monkeypatch.chdir(tmp_path.parent)
    assert reports.tensorboard_command(Path("runs")) == f"{tmp_path.name}/tensorboard --logdir runs"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert reports.tensorboard_command(Path("my runs")) == "tensorboard --logdir 'my runs'"
