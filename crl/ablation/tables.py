"""The results of an ablation's finished runs as two small tables, which can be kept with the code."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from crl.ablation.plan import Planned
from crl.ablation.record import LOCK
from crl.results import RunResults
from crl.storage.files import replace_file

RUNS, VISITS = "runs.csv", "visits.csv"
OF_RUNS = (
    "run", "arm", "seed", "steps", "gradient_steps", "seconds", "train_seconds", "peak_memory", "units_reset",
    "mean_return", "config_hash",
)  # fmt: skip
OF_VISITS = ("run", "arm", "seed", "segment", "task", "visit", "start", "steps", "mean_return", "episodes", "over")


def write(folder: Path, runs: Mapping[str, Planned]) -> None:
    """Write the tables into the folder of an ablation: a row for each finished run, and one for each visit of theirs.

    Args:
        folder: of the ablation.
        runs: of it, of which those are passed over that are not finished.
    """
    found = [(run, results) for run in runs.values() if run.is_finished() and (results := run.results()) is not None]
    with FileLock(folder / LOCK):
        replace_file(folder / RUNS, _table(OF_RUNS, (_run(*each) for each in found)))
        replace_file(folder / VISITS, _table(OF_VISITS, (row for each in found for row in _visits(*each))))


def _run(run: Planned, results: RunResults) -> list[Any]:
    known = [visit.mean_return for visit in results.visits if visit.mean_return is not None]
    return [
        *_of(run), results.steps, results.gradient_steps, round(results.seconds, 1), round(results.train_seconds, 1),
        results.peak_memory.process, sum(results.resets.values()), sum(known) / len(known) if known else None,
        results.config_hash,
    ]  # fmt: skip


def _visits(run: Planned, results: RunResults) -> Iterable[list[Any]]:
    for visit in results.visits:
        yield [
            *_of(run), visit.segment, visit.task, visit.visit, visit.start, visit.steps, visit.mean_return,
            visit.episodes, visit.over,
        ]  # fmt: skip


def _of(run: Planned) -> tuple[str, str, int]:
    return run.cell.name, run.cell.arm, run.cell.seed


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")
