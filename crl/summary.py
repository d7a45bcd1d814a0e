"""What a run has brought, on the screen."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table
from rich.text import Text

from crl.results import PeakMemory, RunResults, Visit
from crl.screen import GIGA
from crl.shell import typed

# TensorBoard's grouped page; where it smooths, a reset is seen before it was made, and a switch as a slope.
TENSORBOARD_PAGE = "http://localhost:6006/#custom_scalars&_smoothingWeight=0"
VISITS_SHOWN = 6
TASKS_SHOWN = 20
TASK_WIDTH, VISIT_WIDTH = 18, 17  # columns of the terminal that a name and a visit take


def show(results: RunResults, modules: Sequence[Path] = ()) -> None:
    """Print the summary: one screen, however long the stream was.

    Args:
        results: of the run.
        modules: folders beside the current one in which the run finds modules.
    """
    console = Console()
    print("mean return (episodes) in the last tenth of each visit; * of its last episodes, where none ended there")
    alone = [visit for visit in results.visits if visit.family == visit.task]
    variants = [visit for visit in results.visits if visit.family != visit.task]
    if alone:
        console.print(_returns(alone, console.width))
    if variants:
        console.print(_trends(variants, console.width))
    resets = ", ".join(f"{network} {count}" for network, count in results.resets.items())
    print(f"units reset: {resets or 'none'}")
    for intervention, reason in results.idle.items():
        print(f"{intervention} did nothing: {reason}")
    print(f"{results.status}: {results.steps:,} steps in {results.seconds:.1f} s, {_peaks(results.peak_memory)}")
    print(f"run folder: {results.folder}")
    if results.status == "interrupted":
        options = [word for folder in modules for word in ("--modules", str(folder))]
        print(f"to go on: {typed(['crl', 'resume', results.folder, *options])}")
    print(f"figure: {typed(['crl', 'plot', results.folder])}")
    print(f"curves: {results.tensorboard}")
    print(f"then open {TENSORBOARD_PAGE}")


def _peaks(peaks: PeakMemory) -> str:
    device = "" if peaks.device is None else f" and {peaks.device / GIGA:.2f} GB on the GPU"
    return f"at most {peaks.process / GIGA:.2f} GB of memory{device}"


def tensorboard_command(runs: Path) -> str:
    """The command that shows all runs beside one another, as it can be typed here."""
    beside = shutil.which("tensorboard", path=str(Path(sys.executable).parent))
    if beside is None or shutil.which("tensorboard"):
        return typed(["tensorboard", "--logdir", str(runs)])
    here = Path(beside).is_relative_to(Path.cwd())
    return typed([str(Path(beside).relative_to(Path.cwd())) if here else beside, "--logdir", str(runs)])


def _returns(visits: list[Visit], width: int) -> Table:
    """Mean returns, a row per task and a column per visit; of many visits the last ones that fit."""
    tasks = list(dict.fromkeys(visit.task for visit in visits))
    last = max(visit.visit for visit in visits)
    columns = range(max(1, last - _fitting(width) + 1), last + 1)
    cells = {(visit.task, visit.visit): visit for visit in visits}
    table = Table()
    table.add_column("task", overflow="fold")
    for number in columns:
        table.add_column(f"visit {number}", justify="right")
    for task in tasks[:TASKS_SHOWN]:
        # Not as text of its own: rich reads markup in brackets.
        table.add_row(Text(task), *(_cell(cells.get((task, number))) for number in columns))
    if len(tasks) > TASKS_SHOWN:
        table.add_row(f"{len(tasks) - TASKS_SHOWN} more in results.json")
    return table


def _trends(visits: list[Visit], width: int) -> Table:
    """Mean returns of all variants of a task together, a row per task and a column per part of their visits."""
    families = list(dict.fromkeys(visit.family for visit in visits))
    most = max(Counter(visit.family for visit in visits).values())
    parts = min(_fitting(width), most)
    table = Table()
    table.add_column("variants of", overflow="fold")
    for part in range(parts):
        table.add_column(f"part {part + 1} of {parts}", justify="right")
    for family in families[:TASKS_SHOWN]:
        played = [visit for visit in visits if visit.family == family]
        bounds = [len(played) * part // parts for part in range(parts + 1)]
        cells = [_mean(played[low:high]) for low, high in pairwise(bounds)]
        table.add_row(Text(f"{family} ({len(played):,} visits)"), *cells)
    if len(families) > TASKS_SHOWN:
        table.add_row(f"{len(families) - TASKS_SHOWN} more in results.json")
    return table


def _fitting(width: int) -> int:
    """How many columns of visits a terminal has room for."""
    return max(1, min(VISITS_SHOWN, (width - TASK_WIDTH) // VISIT_WIDTH))


def _mean(visits: list[Visit]) -> str:
    found = [visit.mean_return for visit in visits if visit.mean_return is not None]
    return f"{fmean(found):.2f} ({sum(visit.episodes for visit in visits)})" if found else "-"


def _cell(visit: Visit | None) -> str:
    if visit is None or visit.mean_return is None:
        return "-"
    mark = "" if visit.over == "last tenth" else "*"
    return f"{visit.mean_return:.2f} ({visit.episodes}){mark}"
