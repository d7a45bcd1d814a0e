"""The summary: one screen, whatever the stream and the terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from small_results import record, visit

from crl import summary
from crl.results import PeakMemory, RunResults


def results(tasks: list[str], visits: int) -> RunResults:
    return record(
        *(
            visit(task, number, None if task == "silent" else 10.0 * number, 0 if task == "silent" else 7)
            for number in range(1, visits + 1)
            for task in tasks
        )
    )


def shown(found: RunResults, capsys: pytest.CaptureFixture[str]) -> list[str]:
    summary.show(found)
    return capsys.readouterr().out.splitlines()


def test_what_is_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    lines = shown(results(["loud", "silent", "[/odd] name"], visits=2), capsys)
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert cells == [
        ["loud", "10.00 (7)", "20.00 (7)*"], ["silent", "-", "-"], ["[/odd] name", "10.00 (7)", "20.00 (7)*"],
    ]  # fmt: skip
    assert lines[-6:] == [
        "units reset: actor 3, critic 0", "done: 1,234,567 steps in 12.3 s, at most 0.55 GB of memory",
        "run folder: runs/x",
        "figure: crl plot runs/x",
        "curves: tensorboard --logdir runs",
        "then open http://localhost:6006/#custom_scalars&_smoothingWeight=0",
    ]  # fmt: skip


def test_it_says_why_nothing_was_reset(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = {"gxd": "no period of 1,000 gradient steps ended (640 were made)", "redo": "no unit was low"}
    found = results(["task"], visits=1).model_copy(update={"resets": {"actor": 0}, "idle": reasons})
    assert shown(found, capsys)[-8:-5] == [
        "units reset: actor 0",
        "gxd did nothing: no period of 1,000 gradient steps ended (640 were made)",
        "redo did nothing: no unit was low",
    ]


def test_an_interrupted_run_names_the_command_that_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    found = results(["task"], visits=1).model_copy(update={"status": "interrupted", "folder": "my runs/x"})
    assert shown(found, capsys)[-6:-2] == [
        "interrupted: 1,234,567 steps in 12.3 s, at most 0.55 GB of memory", "run folder: my runs/x",
        "to go on: crl resume 'my runs/x'",
        "figure: crl plot 'my runs/x'",
    ]  # fmt: skip


def test_a_gpus_memory_is_shown_beside_the_process_s(capsys: pytest.CaptureFixture[str]) -> None:
    peaks = PeakMemory(process=545_000_000, device=1_234_000_000)
    found = results(["task"], visits=1).model_copy(update={"peak_memory": peaks})
    expected = "done: 1,234,567 steps in 12.3 s, at most 0.55 GB of memory and 1.23 GB on the GPU"
    assert expected in shown(found, capsys)


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


# ---------------------------------------------------------------------- variants


def of_variants(counts: dict[str, int], silent: frozenset[int] = frozenset()) -> RunResults:
    """Results of families with so many visits each; a visit's return is its number, in one episode."""
    return record(
        *(
            visit(
                f"{family}#{number}", 1, None if number in silent else float(number), int(number not in silent), family
            )
            for family, count in counts.items()
            for number in range(count)
        )
    )


def cells_of(lines: list[str], bar: str = "│") -> list[list[str]]:
    return [[cell.strip() for cell in line.strip(bar).split(bar)] for line in lines if line.startswith(bar)]


def test_variants_are_shown_together_in_parts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lines = shown(of_variants({"breakout+pixel_permutation": 12, "short": 3}), capsys)
    assert cells_of(lines, "┃") == [["variants of", *(f"part {part} of 6" for part in range(1, 7))]]
    assert cells_of(lines) == [
        ["breakout+pixel_permutation (12 visits)", "0.50 (2)", "2.50 (2)", "4.50 (2)", "6.50 (2)", "8.50 (2)",
         "10.50 (2)"],
        ["short (3 visits)", "-", "0.00 (1)", "-", "1.00 (1)", "-", "2.00 (1)"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("count", "columns", "parts"),
    [
        (1, 200, ["0.00 (1)"]),
        (4, 200, ["0.00 (1)", "1.00 (1)", "2.00 (1)", "3.00 (1)"]),
        (5000, 60, ["1249.50 (2500)", "3749.50 (2500)"]),
        (5000, 20, ["2499.50 (5000)"]),
    ],
)
def test_there_are_no_more_parts_than_visits_or_room(
    count: int, columns: int, parts: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = shown(of_variants({"x": count}), capsys)
    assert " ".join(" ".join(row[1:]) for row in cells_of(lines)).split() == " ".join(parts).split()
    assert len(lines) < 20


def test_variants_without_episodes_do_not_count(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = shown(of_variants({"x": 6}, silent=frozenset({1, 3, 4, 5})), capsys)
    assert cells_of(lines) == [["x (6 visits)", "1.00 (2)", "-"]]


def test_variants_and_other_tasks_have_tables_of_their_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    found = record(*results(["loud"], visits=2).visits, *of_variants({"x": 2}).visits)
    lines = shown(found, capsys)
    assert cells_of(lines, "┃") == [["task", "visit 1", "visit 2"], ["variants of", "part 1 of 2", "part 2 of 2"]]
    assert cells_of(lines) == [["loud", "10.00 (7)", "20.00 (7)*"], ["x (2 visits)", "0.00 (1)", "1.00 (1)"]]
    many = shown(of_variants({f"family{number}": 2 for number in range(30)}), capsys)
    assert any("10 more in results.json" in line for line in many)


def test_going_on_names_the_folders_of_modules(capsys: pytest.CaptureFixture[str]) -> None:
    found = results(["x"], visits=1).model_copy(update={"status": "interrupted", "folder": "runs/x"})
    summary.show(found, [Path("my modules")])
    assert "to go on: crl resume runs/x --modules 'my modules'" in capsys.readouterr().out.splitlines()


# ---------------------------------------------------------------------- curves


def test_the_command_for_the_curves_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "tensorboard"
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", "")
    assert summary.tensorboard_command(Path("my runs")) == f"{program} --logdir 'my runs'"
    monkeypatch.chdir(tmp_path.parent)
    assert summary.tensorboard_command(Path("runs")) == f"{tmp_path.name}/tensorboard --logdir runs"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert summary.tensorboard_command(Path("my runs")) == "tensorboard --logdir 'my runs'"
