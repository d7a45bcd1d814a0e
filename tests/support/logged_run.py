"""Folders of runs that nobody has trained: what `crl plot` reads of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

RETURNS = {"a": 1.0, "b": 7.0, "c": 20.0}  # of the first row; one more in each later row of the task
RESETS = {"actor": [0, 1, 0, 2, 0, 1], "critic": [1, 0, 0, 0, 0, 0]}


def logged_run(
    folder: Path, config: str = "{}", tasks: Sequence[str] = ("a", "b", "a"), rows_per_visit: int = 2, extra: float = 0
) -> Path:
    """A run that plays some tasks in turn, in rows of ten steps.

    Args:
        folder: that is made.
        config: as YAML.
        tasks: one for each visit, empty where no episode has ended.
        rows_per_visit: of its logs.
        extra: added to all returns.
    """
    folder.mkdir()
    (folder / "config.yaml").write_text(config)
    names, networks = list(dict.fromkeys(task for task in tasks if task)), list(RESETS)
    header = ["time/total_timesteps", "task/segment", *(f"Return/{name}" for name in names)]
    lines = [",".join([*header, *(f"reset/{network}/units" for network in networks)])]
    values = dict(RETURNS)
    for row in range(len(tasks) * rows_per_visit):
        segment = row // rows_per_visit
        task = tasks[segment]
        cells = [str(values[name] + extra) if name == task else "" for name in names]
        if task:
            values[task] += 1
        resets = [str(RESETS[network][row % 6]) for network in networks]
        lines.append(",".join([str(10 * row + 10), str(segment), *cells, *resets]))
    (folder / "progress.csv").write_text("\n".join(lines) + "\n")
    return folder
