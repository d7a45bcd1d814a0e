"""`crl compare`: what runs of one stream say together, group by group, and which groups are better than another.

Runs that differ in nothing but their seeds are a group. All is taken from ``config.yaml``, ``results.json`` and, where
it is there, ``evaluations.csv`` as data, so that the folders may be anybody's. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crl.config import ConfigError


def compare(folders: Sequence[Path], csv: Path | None = None) -> None:
    """Print the tables of some runs, and write all their numbers to a file if one is given.

    Runs that have not ended are left out with a warning.

    Args:
        folders: of runs, and of ablations, which stand for all of their runs and name their arms.
        csv: file that is written, a row for each measure, task and group.

    Raises:
        ConfigError: a folder is no run's and no ablation's, or is damaged, no run has ended, two are the same, they are
            of different streams, none has a return, or the file cannot be written.
    """
    if csv is not None and not csv.parent.is_dir():
        raise ConfigError(f"--csv {str(csv)!r} cannot be written: its folder does not exist; make it, or give another")
    from crl.compare.reading import read_all

    runs = read_all(folders)
    from crl.compare.groups import grouped, reference_of
    from crl.compare.places import names_of
    from crl.compare.rows import rows_of  # with scipy, which refusals do without
    from crl.compare.table import show, write_csv

    arms = [(run.arm, run.config) for run in runs]
    groups = grouped(runs, names_of(arms) if any(run.arm for run in runs) else None)
    reference = reference_of(groups)
    rows = rows_of(groups, reference)
    if not rows:
        raise ConfigError("no episode has ended in these runs, and there is nothing to compare; give longer runs")
    if csv is not None:
        write_csv(csv, rows, reference)
    show(groups, rows, reference)
