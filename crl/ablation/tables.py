"""The results of an ablation's finished runs as two small tables, which can be kept with the code."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock

from crl.ablation.record import LOCK
from crl.results import RunResults
from crl.storage.files import replace_file

if TYPE_CHECKING:
    from crl.ablation.plan import Planned

RUNS, VISITS = "runs.csv", "visits.csv"
OF_RUNS = (
    "run", "arm", "seed", "steps", "gradient_steps", "seconds", "train_seconds", "peak_memory", "units_reset",
    "mean_return", "config_hash",
)  # fmt: skip
OF_VISITS = ("run", "arm", "seed", "segment", "task", "visit", "start", "steps", "mean_return", "episodes", "over")


class Finished(NamedTuple):
    """A run that has ended.

    Attributes:
        name: of the run.
        arm: name of its arm.
        seed: of the run.
        results: what it has brought.
    """

    name: str
    arm: str
    seed: int
    results: RunResults


def write(folder: Path, runs: Mapping[str, Planned]) -> None:
    """Write the tables into the folder of an ablation: a row for each finished run, and one for each visit of theirs.

    Args:
        folder: of the ablation.
        runs: of it, of which those are passed over that are not finished.
    """
    found = [
        Finished(run.cell.name, run.cell.arm, run.cell.seed, results)
        for run in runs.values()
        if run.is_finished() and (results := run.results()) is not None
    ]
    with FileLock(folder / LOCK):
        replace_file(folder / RUNS, runs_table(found))
        replace_file(folder / VISITS, visits_table(found))


def runs_table(runs: Iterable[Finished]) -> bytes:
    """A row for each run, as CSV."""
    return table(OF_RUNS, map(_run, runs))


def visits_table(runs: Iterable[Finished]) -> bytes:
    """A row for each visit of the runs, as CSV."""
    return table(OF_VISITS, (row for run in runs for row in _visits(run)))


def _run(run: Finished) -> list[Any]:
    results = run.results
    known = [visit.mean_return for visit in results.visits if visit.mean_return is not None]
    return [
        *run[:3], results.steps, results.gradient_steps, round(results.seconds, 1), round(results.train_seconds, 1),
        results.peak_memory.process, sum(results.resets.values()), sum(known) / len(known) if known else None,
        results.config_hash,
    ]  # fmt: skip


def _visits(run: Finished) -> Iterable[list[Any]]:
    for visit in run.results.visits:
        yield [
            *run[:3], visit.segment, visit.task, visit.visit, visit.start, visit.steps, visit.mean_return,
            visit.episodes, visit.over,
        ]  # fmt: skip


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A CSV file."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")
