"""What a run has brought: `results.json` and the summary on the screen."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

VISITS_SHOWN = 6
TASKS_SHOWN = 20
TASK_WIDTH, VISIT_WIDTH = 18, 17  # columns of the terminal that a name and a visit take


def write(results: dict[str, Any], folder: Path) -> None:
    """Write ``results.json``."""
    (folder / "results.json").write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def show(results: dict[str, Any]) -> None:
    """Print the summary: one screen, however long the stream was."""
    console = Console()
    print("mean return (episodes) in the last tenth of each visit; * of its last episodes, where none ended there")
    console.print(_returns(results["visits"], console.width))
    resets = ", ".join(f"{network} {count}" for network, count in results["resets"].items())
    print(f"units reset: {resets or 'none'}")
    print(f"{results['status']}: {results['steps']:,} steps in {results['seconds']:.1f} s")
    print(f"run folder: {results['folder']}")
    print(f"curves: {results['tensorboard']}")


def tensorboard_command(runs: Path) -> str:
    """The command that shows all runs beside one another, as it can be typed here."""
    beside = Path(sys.executable).with_name("tensorboard")
    if beside.is_relative_to(Path.cwd()):
        beside = beside.relative_to(Path.cwd())
    program = "tensorboard" if shutil.which("tensorboard") or not beside.exists() else str(beside)
    return shlex.join([program, "--logdir", str(runs)])


def _returns(visits: list[dict[str, Any]], width: int) -> Table:
    """Mean returns, a row per task and a column per visit; of many visits the last ones that fit."""
    tasks = list(dict.fromkeys(visit["task"] for visit in visits))
    last = max(visit["visit"] for visit in visits)
    fitting = max(1, min(VISITS_SHOWN, (width - TASK_WIDTH) // VISIT_WIDTH))
    columns = range(max(1, last - fitting + 1), last + 1)
    cells = {(visit["task"], visit["visit"]): visit for visit in visits}
    table = Table()
    table.add_column("task")
    for number in columns:
        table.add_column(f"visit {number}", justify="right")
    for task in tasks[:TASKS_SHOWN]:
        # Not as text of its own: rich reads markup in brackets.
        table.add_row(Text(task), *(_cell(cells.get((task, number))) for number in columns))
    if len(tasks) > TASKS_SHOWN:
        table.add_row(f"{len(tasks) - TASKS_SHOWN} more in results.json")
    return table


def _cell(visit: dict[str, Any] | None) -> str:
    if visit is None or visit["mean_return"] is None:
        return "-"
    mark = "" if visit["over"] == "last tenth" else "*"
    return f"{visit['mean_return']:.2f} ({visit['episodes']}){mark}"
