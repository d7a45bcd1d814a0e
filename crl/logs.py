"""The log files of a run, its parts' CSV files and TensorBoard's events: cut to what a checkpoint saw.

SB3's own CSV writer empties its file on opening, and orders its columns by hash.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stable_baselines3.common.logger import (
    Figure,
    FormatUnsupportedError,
    HParam,
    Image,
    KVWriter,
    TensorBoardOutputFormat,
    Video,
    filter_excluded_keys,
)

from crl.csv_log import CsvLog, count_columns, cut
from crl.storage.files import DamagedError, move, patiently, put, replace_file, temporary

CSV = "progress.csv"
CHUNK = 1 << 20  # bytes
EVENTS = "events.out.tfevents."  # TensorBoard's files, which are new ones at each start
UNSUPPORTED = {Video: "video", Figure: "figure", Image: "image", HParam: "hparam"}


class CsvWriter(KVWriter):
    """Writes SB3's rows of logs to a CSV file.

    Args:
        path: see `CsvLog`.
    """

    def __init__(self, path: Path) -> None:
        self.log = CsvLog(path)

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Append a row; see `KVWriter`."""
        row = filter_excluded_keys(key_values, key_excluded, "csv")
        for value in row.values():
            for kind, name in UNSUPPORTED.items():
                if isinstance(value, kind):
                    raise FormatUnsupportedError(["csv"], name)
        self.log.append(dict(sorted(row.items())))  # whatever the order in which they were recorded

    def close(self) -> None:
        """Close the file."""
        self.log.close()


class EventWriter(TensorBoardOutputFormat):
    """Writes TensorBoard's events, to a new file beside those that are there.

    A thread of its own writes them. What goes wrong there is raised by the next row, and is not also printed.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self._hook = threading.excepthook
        threading.excepthook = self._pass_over

    def _pass_over(self, failed: threading.ExceptHookArgs) -> None:
        if getattr(failed.thread, "exception", None) is not failed.exc_value:  # TensorBoard's thread has it kept
            self._hook(failed)

    def close(self) -> None:
        """Close the file."""
        threading.excepthook = self._hook
        super().close()


class Extent(NamedTuple):
    """How much of a log file there was."""

    size: int
    """Bytes."""
    columns: int
    """Of a CSV file; else 0."""


def is_csv(name: str) -> bool:
    """Whether this is the name of a CSV file in the run's folder."""
    return Path(name).name == name and name.endswith(".csv")


def _is_log(name: str) -> bool:
    return is_csv(name) or (Path(name).name == name and name.startswith(EVENTS))


def extents(folder: Path, names: Collection[str]) -> dict[str, Extent]:
    """How much of each log file there is, after all of it has reached the disk.

    Args:
        folder: of the run.
        names: of its CSV files. Whoever writes there, and TensorBoard's events, has flushed.
    """
    found = {}
    for path in _logs(folder, names):
        with path.open("r+b") as file:  # Windows brings to the disk only what may be written to
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        found[path.name] = Extent(size, count_columns(path) if path.suffix == ".csv" else 0)
    return found


def read_extents(saved: Any) -> dict[str, Extent]:
    """What `extents` gave, as a checkpoint holds it.

    Raises:
        ValueError: it is something else. Other errors of values, too.
    """
    found = {}
    for name, numbers in saved.items():
        if not _is_log(name):
            raise ValueError(f"{name!r} is no log file, and is not cut")
        if not isinstance(numbers, list) or len(numbers) != 2 or any(type(n) is not int or n < 0 for n in numbers):
            raise ValueError(f"it saw {numbers!r} of {name!r}")
        found[name] = Extent(*numbers)
    return found


def missing(folder: Path, seen: Mapping[str, Extent]) -> list[Path]:
    """Which log files have to be begun anew; all others can be cut to what they were.

    Args:
        folder: of the run.
        seen: as `extents` returned it.

    Raises:
        DamagedError: a file is shorter, or not the one that was measured.
    """
    gone, _ = _looked_at(folder, seen)
    return gone


def truncate(folder: Path, seen: Mapping[str, Extent], names: Collection[str]) -> None:
    """Cut the log files to what they were; those that came later are removed. None may be open.

    Columns that a CSV file got later are taken away. After a kill it can be called again.

    Args:
        folder: of the run.
        seen: as `extents` returned it; files that are missing are passed over.
        names: of the run's CSV files.

    Raises:
        DamagedError: a file is shorter, or not the one that was measured; nothing has been changed.
    """
    _, contents = _looked_at(folder, seen)
    for path in _logs(folder, names):
        if path.name not in seen:
            patiently(path.unlink)
        elif path.name not in contents:
            _shorten(path, seen[path.name].size)
    for name, content in contents.items():
        replace_file(folder / name, content)


def _shorten(path: Path, size: int) -> None:
    """Put the beginning of a file in its place: a process that was given up for dead may have the old one open."""
    with path.open("rb") as file:
        put(temporary(path), (file.read(min(CHUNK, size - start)) for start in range(0, size, CHUNK)))
    move(temporary(path), path)


def _looked_at(folder: Path, seen: Mapping[str, Extent]) -> tuple[list[Path], dict[str, bytes]]:
    """The files that are missing though they held something, and name -> what it held of each CSV file."""
    gone, contents = [], {}
    for name, (size, columns) in seen.items():
        path = folder / name
        if not os.path.lexists(path):
            gone += [path] if size else []
            continue
        if not path.is_file():
            raise DamagedError(f"{str(path)!r} is no file; the checkpoint saw {size} bytes of one")
        if (there := path.stat().st_size) < size:
            raise DamagedError(f"{str(path)!r} has {there} bytes; the checkpoint saw {size}")
        if name.endswith(".csv"):
            contents[name] = cut(path, size, columns)
    return gone, contents


def _logs(folder: Path, names: Collection[str]) -> list[Path]:
    found = (path for path in folder.iterdir() if path.name in names or path.name.startswith(EVENTS))
    return sorted(path for path in found if path.is_file())
