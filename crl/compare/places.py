"""Where the runs are that are meant by folders of runs and of ablations, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from crl.ablation import record
from crl.config import ConfigError
from crl.config.messages import printable, shortened
from crl.labels import group_labels, short_labels
from crl.opening import check_entries
from crl.shell import typed


class Place(NamedTuple):
    """A run's folder, and the name that an ablation gives to its arm if it is of one."""

    folder: Path
    arm: str | None = None


def places_of(folders: Sequence[Path]) -> tuple[list[Place], int]:
    """The runs that are meant, and how many of them have not begun.

    Args:
        folders: of runs, and of ablations, which stand for all of their runs.

    Raises:
        ConfigError: one is neither.
    """
    found, waiting = dict[Path, Place](), 0
    for folder in folders:
        if not (folder / record.FILE).is_file():
            if not (folder / "config.yaml").is_file():
                raise ConfigError(
                    f"{str(folder)!r} is neither a run nor an ablation: it has no config.yaml and no {record.FILE}; "
                    f"{_remedy(folder)}"
                )
            found.setdefault(folder.resolve(), Place(folder))
            continue
        check_entries(folder)
        named = record.read(folder)[record.RUNS]
        there = {path.name for path in folder.iterdir() if (path / "config.yaml").is_file()}
        waiting += len(named.keys() - there)
        for name in named:
            if name in there:
                found[(folder / name).resolve()] = Place(folder / name, name.rpartition("__s")[0])
    if not found:
        raise ConfigError(f"no run of {str(folders[0])!r} has begun; begin them by crl ablate")
    return [*found.values()], waiting


def _remedy(folder: Path) -> str:
    inner = [
        path
        for path in sorted(folder.glob("*"))
        if any((path / name).is_file() for name in (record.FILE, "config.yaml"))
    ]
    if not inner:
        return "give a folder that crl train or crl ablate has made"
    return f"it holds such folders, give one or several, such as {typed([str(inner[-1])])}"


def names_of(runs: Sequence[tuple[str | None, Mapping[str, Any]]]) -> list[str]:
    """The name of each run's arm: what an ablation calls it, or else by what it differs from the others.

    Args:
        runs: what an ablation calls the arm of each, or None, and its config.
    """
    configs = [config for _, config in runs]
    labels = group_labels(configs)
    short = dict(zip(labels, short_labels(configs), strict=True))
    keys = [(arm, label) for (arm, _), label in zip(runs, labels, strict=True)]
    names = dict[tuple[str | None, str], str]()
    for arm, label in keys:
        if (arm, label) not in names:
            several = len({other for name, other in keys if name == arm}) > 1
            wanted = short[label] if arm is None else f"{arm} ({short[label]})" if several else arm
            name, number = shortened(printable(wanted)), 1
            while name in names.values():
                number += 1
                name = f"{shortened(printable(wanted))} ({number})"
            names[arm, label] = name
    return [names[key] for key in keys]


def not_begun(waiting: int, begun: int) -> str:
    """What is said of runs of ablations that have not begun."""
    return f"{waiting} of {waiting + begun} runs {'has' if waiting == 1 else 'have'} not begun"
