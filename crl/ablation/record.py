"""What the folder of an ablation says of itself: which runs it has, so that no two ablations share one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crl.ablation.grid import Grid
from crl.config import ConfigError
from crl.config.messages import shown
from crl.run_folder import unwritable
from crl.storage.files import DamagedError, parsed, read_whole, replace_file, temporary

FILE = "ablation.json"
LOCK = ".lock"
MAX_BYTES = 1 << 27
COMMON, RUNS = "common", "runs"


def keep(grid: Grid) -> None:
    """Write down the runs of a grid in its folder, beside those that are there: arms and seeds may be added later.

    Raises:
        ConfigError: the folder is another ablation's, or holds something else, or cannot be written.
    """
    from filelock import FileLock

    given = {COMMON: grid.common, RUNS: {cell.name: cell.raw for cell in grid.cells}}
    given = json.loads(json.dumps(given, default=str))
    try:
        grid.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(grid.folder / LOCK):
            known = check(grid)
            if known is None or not given[RUNS].keys() <= known[RUNS].keys():
                runs = {**({} if known is None else known[RUNS]), **given[RUNS]}
                text = json.dumps({**given, RUNS: runs}, indent=1, allow_nan=True)
                replace_file(grid.folder / FILE, f"{text}\n".encode())
    except OSError as error:
        why = unwritable(grid.folder) if grid.folder.is_dir() else None
        why = why or f"{str(grid.folder)!r} cannot be written ({error.strerror})"
        raise ConfigError(f"{why}; give another folder in {str(grid.file)!r}") from None


def check(grid: Grid) -> dict[str, Any] | None:
    """What a grid's folder has written down, None where there is nothing yet.

    Raises:
        ConfigError: it is of another ablation, or the folder holds something else.
    """
    folder = grid.folder
    if not (folder / FILE).exists():
        # By a start that was killed, or found the disk full; the last two by the systems' windows.
        left = {LOCK, temporary(folder / FILE).name, ".DS_Store", "desktop.ini"}
        if folder.is_dir() and any(path.name not in left for path in folder.iterdir()):
            raise ConfigError(
                f"{str(folder)!r} holds something else than an ablation; give another folder in {str(grid.file)!r}"
            )
        return None
    known = read(folder)
    given = json.loads(json.dumps({COMMON: grid.common, RUNS: {c.name: c.raw for c in grid.cells}}, default=str))
    both = {name: raw for name, raw in given[RUNS].items() if name in known[RUNS]}
    places = [("the base config", known[COMMON], given[COMMON])]
    places += [(f"the run {name}", known[RUNS][name], raw) for name, raw in both.items()]
    for place, there, here in places:
        for key, one, other in _differences(there, here):
            raise ConfigError(
                f"{str(folder)!r} holds another ablation: {key or 'all'} of {place} is {shown(one)} there and "
                f"{shown(other)} in {str(grid.file)!r}; give another folder, or change it back"
            )
    return known


def read(folder: Path) -> dict[str, Any]:
    """What is written down in a folder: ``common``, a config, and ``runs``, name -> config.

    Raises:
        ConfigError: it cannot be read.
    """
    path = folder / FILE
    try:
        found = parsed(read_whole(path, MAX_BYTES))
        if not isinstance(found[COMMON], dict) or not all(isinstance(raw, dict) for raw in found[RUNS].values()):
            raise TypeError
    except DamagedError as error:
        raise ConfigError(f"{error}; give the folder of an ablation") from None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        raise ConfigError(f"{str(path)!r} is not what crl ablate has written; put it back as it was") from None
    return {COMMON: found[COMMON], RUNS: found[RUNS]}


def _differences(one: Any, other: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted key and both values, null for none, of each place in which two configs differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in {**one, **other}:
            yield from _differences(one.get(name), other.get(name), f"{key}.{name}" if key else name)
    elif json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True):
        yield key, one, other
