"""The log files of a run, ``progress.csv`` and TensorBoard's events: cut to what a checkpoint saw, and gone on with.

SB3's own CSV writer empties its file on opening, and orders its columns by hash.
"""

from __future__ import annotations

import csv
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import (
    Figure,
    FormatUnsupportedError,
    HParam,
    Image,
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
    Video,
    filter_excluded_keys,
)

from crl.config.messages import one_line
from crl.storage import DamagedError, replace_file
from crl.storage.files import readable

CSV = "progress.csv"
EVENTS = "events.out.tfevents."
csv.field_size_limit(2**31 - 1)  # a text that a user logs may be long
UNSUPPORTED = {Video: "video", Figure: "figure", Image: "image", HParam: "hparam"}


class CsvWriter(KVWriter):
    """Appends rows to a CSV file, each as soon as it is written.

    The columns are the tags in the order in which they came, sorted where they came together. Where a row brings new
    ones, the file is written anew with it, the old one being there until the new one is whole. A column is only made
    for a value: so the file itself says which columns it had at each of its rows, see `truncate`.

    Args:
        path: goes on where it is there; its first row names the columns.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("a", encoding="utf-8", errors="surrogateescape", newline="")
        self._columns = next(iter(_rows(path)), [])

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Append a row; see `KVWriter`."""
        kept = filter_excluded_keys(key_values, key_excluded, "csv")
        row = {key: _text(value) for key, value in kept.items()}
        new = sorted(key for key in row.keys() - set(self._columns) if row[key])
        if new:
            self._columns = [*self._columns, *new]
            rows = [self._columns, *_rows(self._path)[1:], [row.get(key, "") for key in self._columns]]
            self._file.close()
            replace_file(self._path, _content(rows, len(self._columns)))
            self._file = self._path.open("a", encoding="utf-8", errors="surrogateescape", newline="")
        elif self._columns:
            self._file.write(_line([row.get(key, "") for key in self._columns]))
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


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


def open_logs(folder: Path, logger: Logger) -> None:
    """Have a logger go on with the CSV file of a folder, and begin an event file beside those that are there."""
    logger.output_formats.append(CsvWriter(folder / CSV))
    logger.output_formats.append(EventWriter(folder))


def close_logs(logger: Logger) -> None:
    """Close all writers of a logger, also where one of them fails."""
    with ExitStack() as stack:
        for output in logger.output_formats:
            stack.callback(output.close)


def lengths(folder: Path, logger: Logger | None = None) -> dict[str, int]:
    """How many bytes each log file has, after all of them have reached the disk.

    Args:
        folder: of the run.
        logger: what writes there, which is flushed first; None where it is closed.
    """
    for output in logger.output_formats if logger is not None else ():
        if isinstance(output, TensorBoardOutputFormat):
            output.writer.flush()
    found = {}
    for path in _logs(folder):
        with path.open("r+b") as file:  # Windows brings to the disk only what may be written to
            os.fsync(file.fileno())
            found[path.name] = os.fstat(file.fileno()).st_size
    return found


def missing(folder: Path, lengths: Mapping[str, int]) -> list[Path]:
    """Which log files have to be begun anew; all others can be cut to what they were.

    Args:
        folder: of the run.
        lengths: as `lengths` returned them.

    Raises:
        DamagedError: a file is shorter, or not the one that was measured.
    """
    gone, _ = _looked_at(folder, lengths)
    return gone


def truncate(folder: Path, lengths: Mapping[str, int]) -> None:
    """Cut the log files to what they were; those that came later are removed. No logger may be open.

    Columns that the CSV file got later are taken away. After a kill it can be called again.

    Args:
        folder: of the run.
        lengths: as `lengths` returned them; files that are missing are passed over.

    Raises:
        DamagedError: a file is shorter, or not the one that was measured; nothing has been changed.
    """
    _, content = _looked_at(folder, lengths)
    for path in _logs(folder):
        if path.name not in lengths:
            path.unlink()
        elif path.name != CSV:
            os.truncate(path, lengths[path.name])
    if content is not None:
        replace_file(folder / CSV, content)


def _looked_at(folder: Path, lengths: Mapping[str, int]) -> tuple[list[Path], bytes | None]:
    """The files that are missing though they held something, and what the CSV file held, if it is there."""
    gone, content = [], None
    for name, length in lengths.items():
        path = folder / name
        if path.name != name or not _is_log(name):
            raise DamagedError(f"{name!r} is no log file, and is not cut")
        if not os.path.lexists(path):
            gone += [path] if length else []
            continue
        if not path.is_file():
            raise DamagedError(f"{str(path)!r} is no file; the checkpoint saw {length} bytes of one")
        if (size := path.stat().st_size) < length:
            raise DamagedError(f"{str(path)!r} has {size} bytes; the checkpoint saw {length}")
        if name == CSV:
            try:
                with readable(path):
                    content = _cut(path, length)
            except csv.Error as error:
                raise DamagedError(f"{str(path)!r} is no CSV file ({one_line(error)})") from None
    return gone, content


def _is_log(name: str) -> bool:
    return name == CSV or name.startswith(EVENTS)


def _logs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _is_log(path.name) and path.is_file())


def _cut(path: Path, length: int) -> bytes:
    """What the CSV file held when it had `length` bytes, without the columns that it got later.

    As long as a row was the last one, the file had the columns up to the last that had a value till then.
    """
    rows = _rows(path)
    columns = len(rows[0]) if rows else 0
    sizes = accumulate(len(_encoded(_line(_fitted(row, columns)))) for row in rows[1:])
    filled = accumulate((max((i + 1 for i, text in enumerate(row) if text), default=0) for row in rows[1:]), max)
    if length == 0:
        return b""
    for number, (size, count) in enumerate(zip(sizes, filled, strict=True), start=1):
        # Each row has a comma more for each later column.
        if len(_encoded(_line(rows[0][:count]))) + size - number * (columns - count) == length:
            return _content(rows[: number + 1], count)
    raise DamagedError(f"{str(path)!r} has no row that ends where the checkpoint saw its end, at byte {length}")


def _rows(path: Path) -> list[list[str]]:
    """The fields of all rows, the header's first."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.reader(file))


def _content(rows: Iterable[Sequence[str]], columns: int) -> bytes:
    return _encoded("".join(_line(_fitted(row, columns)) for row in rows))


def _fitted(row: Sequence[str], columns: int) -> list[str]:
    return [*row[:columns], *[""] * (columns - len(row))]


def _line(fields: Sequence[str]) -> str:
    # Not csv.writer: it quotes an empty field where it is the only one, so that lengths would not add up.
    return ",".join(_quoted(text) for text in fields) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n\r') else text


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(value: Any) -> str:
    for kind, name in UNSUPPORTED.items():
        if isinstance(value, kind):
            raise FormatUnsupportedError(["csv"], name)
    return "" if value is None else str(value)
