"""The rows on the screen, and in a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from crl.cells import inert
from crl.compare.groups import Group
from crl.compare.rows import ALL, Row
from crl.config import ConfigError
from crl.config.messages import printable, shortened
from crl.screen import console
from crl.statistics import CLAIMS_FROM, Difference, Estimate
from crl.storage.files import replace_file

TASKS_SHOWN = 20  # of each measure
NAMES = {"iqm": "IQM", "mean": "mean", "median": "median", "optimality_gap": "gap"}  # in a heading


def show(groups: Sequence[Group], rows: Sequence[Row], reference: Group) -> None:
    """Print a table for each measure and task, and what its numbers are."""
    out = console()
    for measure, of in groupby(rows, key=lambda row: row.measure):
        tables = [(task, [*each]) for task, each in groupby(of, key=lambda row: row.task)]
        for place, (task, found) in enumerate(tables):
            if place < TASKS_SHOWN or task == ALL:
                out.print(title_of(measure, task, rows), style="bold", markup=False, highlight=False)
                out.print(_table(*cells_of(found)))
        if len(tables) > TASKS_SHOWN:
            out.print(
                f"of {len(tables)} tables {TASKS_SHOWN} are shown; give --csv FILE for all numbers", highlight=False
            )
    for line in legend(groups, rows, reference):
        out.print(printable(line), markup=False, highlight=False)


def title_of(measure: str, task: str, rows: Sequence[Row]) -> str:
    """What stands above a table: with its task, unless there is but one in all rows."""
    return measure if len({row.task for row in rows}) == 1 else f"{measure}: {_name(task)}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=0)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def cells_of(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the rows of one measure and task; an interval stands on a line of its own."""
    compares = any(row.difference is not None for row in rows)
    aggregates = [*rows[0].estimates]
    claims = any(len(row.points) >= CLAIMS_FROM for row in rows)
    headings = ["seeds", *(NAMES[name] if claims or name != aggregates[0] else "scores" for name in aggregates)]
    headings += ["difference", "p", "better"] if compares else []
    cells = []
    for row in rows:
        estimates = [_cell(row.estimates.get(name)) for name in aggregates]
        if len(row.points) < CLAIMS_FROM:
            estimates[0] = " ".join(number(point) for point in row.points.values())
        compared = [_cell(row.difference), _probability(row.p), _cell(row.better)] if compares else []
        cells.append([_name(row.group), str(len(row.points)), *estimates, *compared])
    return ["group", *headings], cells


def _name(given: str) -> str:
    return printable(shortened(given))


def _cell(found: Estimate | Difference | None) -> str:
    """A value, and below it its interval if it has one."""
    if found is None:
        return ""
    ends = "" if found.low is None or found.high is None else f"\n[{number(found.low)}, {number(found.high)}]"
    return f"{number(found.value)}{ends}"


def number(value: float) -> str:
    """With three digits."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}"  # not as a power of ten


def _probability(p: float | None) -> str:
    return "" if p is None else "<.001" if p < 0.001 else f"{p:.3f}"


def legend(groups: Sequence[Group], rows: Sequence[Row], reference: Group) -> list[str]:
    """What the numbers are, and what is not claimed."""
    few = [group for group in groups if len(group.runs) < CLAIMS_FROM]
    lines = []
    if len(few) < len(groups):
        lines.append("IQM: interquartile mean; in brackets: 95% bootstrap intervals over seeds")
    if any(row.task == ALL for row in rows):
        lines.append(
            f"{ALL}: values over the oracle's mean in each task (of costs, which are negative, that over them); gap: "
            "how far they are below 1 on average"
        )
    if any(row.difference is not None for row in rows):
        lines.append(
            f"difference: from {reference.label}, over the seeds that both have, with the 95% interval and p of a "
            "paired t-test, p corrected by Holm for all comparisons of a measure, in single tasks or in all together; "
            f"better: probability that a run is better than one of {reference.label}"
        )
    elif reference not in few and len(groups) - len(few) > 1:
        lines.append(
            f"nothing is compared with {reference.label}, as no other group has {CLAIMS_FROM} of its seeds; run the "
            "same seeds of both"
        )
    if few:
        counts = sorted({len(group.runs) for group in few})
        seeds = "one seed" if counts == [1] else f"fewer than {CLAIMS_FROM} seeds"
        which = "" if len(few) == len(groups) else f" ({', '.join(group.label for group in few)})"
        lines.append(
            f"of {seeds}{which} all scores are shown in place of an IQM, and nothing is claimed; run {CLAIMS_FROM} or "
            "more"
        )
    return lines


def write_csv(path: Path, rows: Sequence[Row], reference: Group) -> None:
    """Write a row for each measure, task and group; what is not claimed is empty.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        replace_file(path, as_csv(rows, reference))
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be written ({error.strerror}); give another file by --csv") from None


def as_csv(rows: Sequence[Row], reference: Group) -> bytes:
    """All numbers: a row for each measure, task and group, in which a spreadsheet finds no formula."""
    found = [_flat(row, reference) for row in rows]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: inert(cell) for key, cell in row.items()} for row in found)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _flat(row: Row, reference: Group) -> dict[str, Any]:
    difference = row.difference
    return {
        "measure": row.measure,
        "task": row.task,
        "group": row.group,
        "seeds": len(row.points),
        "scores": " ".join(f"{seed}:{point!r}" for seed, point in row.points.items()),
        **{key: value for name in NAMES for key, value in _ends(name, row.estimates.get(name)).items()},
        "compared_with": "" if difference is None else reference.label,
        "pairs": None if difference is None else len(difference.seeds),
        **_ends("difference", difference),
        "p": None if difference is None else difference.p,
        "p_holm": row.p,
        **_ends("better", row.better),
    }


def _ends(name: str, found: Estimate | Difference | None) -> dict[str, float | None]:
    ends = (None, None, None) if found is None else (found.value, found.low, found.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
