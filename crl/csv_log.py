"""A CSV file that a run appends to, and how it is cut to what it was."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crl.config.messages import one_line
from crl.storage.files import DamagedError, readable, replace_file

csv.field_size_limit(2**31 - 1)  # a text that a user logs may be long


class CsvLog:
    """Appends rows to a CSV file, each as soon as it is written.

    The columns stand in the order in which they came, and only a value makes one. Where a row brings new ones, the file
    is written anew with it, the old one being there until the new one is whole.

    Args:
        path: goes on where it is there; its first row names the columns.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()
        self._columns = _header(path)

    def _open(self) -> None:
        self._file = self._path.open("a", encoding="utf-8", errors="surrogateescape", newline="")

    def append(self, row: Mapping[str, Any]) -> None:
        """Write a row: column -> value, None where there is none."""
        texts = {column: "" if value is None else str(value) for column, value in row.items()}
        new = [column for column, text in texts.items() if text and column not in self._columns]
        if new:
            self._columns = [*self._columns, *new]
            rows = [self._columns, *_rows(self._path)[1:], [texts.get(column, "") for column in self._columns]]
            self._file.close()
            replace_file(self._path, b"".join(_lines(rows, len(self._columns))))
            self._open()
        elif self._columns:
            self._file.write(_line([texts.get(column, "") for column in self._columns]))
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def count_columns(path: Path) -> int:
    """How many columns a CSV file has."""
    return len(_header(path))


def cut(path: Path, size: int, columns: int) -> bytes:
    """What a CSV file held when it had `size` bytes and so many columns; later columns stand behind those.

    Raises:
        DamagedError: no row ends there.
    """
    try:
        with readable(path):
            if size == 0:
                return b""
            there = count_columns(path)
            if columns == there:  # whoever wrote it, and however
                with path.open("rb") as file:
                    content = file.read(size)
            else:
                content = _narrowed(path, size, columns) if columns < there else b""
    except csv.Error as error:
        raise DamagedError(f"{str(path)!r} is no CSV file ({one_line(error)})") from None
    if len(content) == size and content.endswith(b"\n"):
        return content
    raise DamagedError(f"{str(path)!r} has no row that ends where the checkpoint saw its end, at byte {size}")


def _narrowed(path: Path, size: int, columns: int) -> bytes:
    """The first rows with the first columns alone, till they have as many bytes or more."""
    lines, length = [], 0
    for line in _lines(_rows(path), columns):
        lines.append(line)
        length += len(line)
        if length >= size:
            break
    return b"".join(lines)


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return next(csv.reader(file), [])


def _rows(path: Path) -> list[list[str]]:
    """The fields of all rows, the header's first."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.reader(file))


def _lines(rows: Iterable[Sequence[str]], columns: int) -> Iterable[bytes]:
    return (_line([*row[:columns], *[""] * (columns - len(row))]).encode("utf-8", "surrogateescape") for row in rows)


def _line(fields: Sequence[str]) -> str:
    # Not csv.writer: it quotes an empty field where it is the only one, so that lengths would not add up.
    return ",".join(_quoted(text) for text in fields) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n\r') else text
