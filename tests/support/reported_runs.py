"""Folders of runs that nobody has trained: what `crl report` reads of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compared_runs import LENGTH, compared_run


def reported_run(parent: Path, seed: int, method: str = "plain", *, rows: int | None = None, **given: Any) -> Path:
    """A run that has ended, with two rows of logs in each visit; see `compared_run`.

    In each row one more unit of the actor has been reset, and its dormant ratio is a hundredth of the row's number.

    Args:
        parent: in which its folder is made.
        seed: of the run.
        method: name of its intervention, or plain.
        rows: of its logs; None for all.
        given: as for `compared_run`.
    """
    folder = compared_run(parent, seed, method, **given)
    tasks, returns = given.get("tasks", ("a",)), given.get("returns", (1.0,))
    names = list(dict.fromkeys(tasks))
    lines = [["time/total_timesteps", "task/segment", *(f"Return/{name}" for name in names)]]
    lines[0] += ["reset/actor/units", "plasticity/actor/dormant_ratio"]
    for row in range(2 * len(tasks) if rows is None else rows):
        place = row // 2
        cells = [str(returns[place]) if name == tasks[place] and returns[place] is not None else "" for name in names]
        lines.append([str((row + 1) * LENGTH // 2), str(place), *cells, "1", str((row + 1) / 100)])
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in lines[0]]
    text = "\n".join(",".join(line) for line in [quoted, *lines[1:]])
    (folder / "progress.csv").write_text(f"{text}\n", encoding="utf-8")
    (folder / "command.txt").write_text(f"crl train {method}.yaml seed={seed}\n")
    (folder / "versions.txt").write_text("python 3\n")
    return folder


def still_going_on(run: Path) -> Path:
    """The run before it has ended."""
    (run / "results.json").unlink()
    return run
