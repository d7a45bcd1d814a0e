"""What folders of runs hold, for tests that compare runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from saved import state_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

CLOCK = ("time/fps", "time/time_elapsed", "time/evaluation")  # of what a run logs
RESULTS = ("status", "steps", "gradient_steps", "visits", "resets", "config_hash")


def checkpoints_of(run: Path) -> list[int]:
    folder = run / "checkpoints"
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal()) if folder.is_dir() else []


def results_of(run: Path) -> dict[str, Any]:
    found = json.loads((run / "results.json").read_text())
    return {key: found[key] for key in RESULTS}


def rows_of(run: Path) -> list[dict[str, str]]:
    with (run / "progress.csv").open(newline="") as file:
        return [{tag: text for tag, text in row.items() if tag not in CLOCK} for row in csv.DictReader(file)]


def scalars_of(run: Path) -> dict[str, list[tuple[int, str]]]:
    """Tag -> (step, value as text, for a gap is no number and equals nothing) as all event files together hold them."""
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}, purge_orphaned_data=False)
    events.Reload()
    # Results are written by what has trained an ablation's run, not by the run.
    tags = [tag for tag in events.Tags()["scalars"] if tag not in CLOCK and not tag.startswith("results/")]
    # By step: event files of the same second and process are read in the order of their names.
    return {tag: sorted((event.step, str(event.value)) for event in events.Scalars(tag)) for tag in tags}


def assert_equal(run: Path, expected: Path) -> None:
    """Two runs have ended alike: parameters and all other state, logs, results."""
    assert results_of(run) == results_of(expected)
    last = checkpoints_of(expected)[-1]
    assert checkpoints_of(run)[-1] == last
    found, wanted = (state_of(each / "checkpoints" / str(last)) for each in (run, expected))
    assert found.keys() == wanted.keys()
    assert [key for key in wanted if found[key] != wanted[key]] == []
    assert len(wanted) > 50
    assert rows_of(run) == rows_of(expected)
    scalars = scalars_of(expected)
    assert scalars_of(run) == scalars
    assert len(scalars) > 20
