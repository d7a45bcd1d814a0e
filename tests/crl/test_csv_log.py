"""CSV files: what they hold, and what they held."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from crl.csv_log import CsvLog, count_columns, cut
from crl.logs import Extent, read_extents
from crl.storage import DamagedError


def test_columns_stand_in_the_order_of_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    log = CsvLog(path)
    log.append({"step": 10, "return": 2.5, "empty": None})
    log.append({"task": "a, b", "step": 20})
    log.close()
    assert path.read_text() == 'step,return,task\n10,2.5,\n20,,"a, b"\n'
    again = CsvLog(path)  # goes on with the columns that are there
    again.append({"return": 3, "empty": 1})
    again.close()
    assert path.read_text() == 'step,return,task,empty\n10,2.5,,\n20,,"a, b",\n,3,,1\n'


def test_later_columns_and_rows_are_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    log, seen = CsvLog(path), []
    for row in ({"a": 1}, {"a": 2}, {"b": "x\ny"}, {"a": 4, "c": 5}, {"c": 6}):
        log.append(row)
        seen.append((path.read_bytes(), count_columns(path)))
    log.close()
    assert [columns for _, columns in seen] == [1, 1, 2, 3, 3]
    for content, columns in seen:
        assert cut(path, len(content), columns) == content
    assert cut(path, 0, 0) == b""


def test_a_file_of_another_writer_is_cut_as_it_stands(tmp_path: Path) -> None:
    """It ends its lines as Windows does, and quotes what need not be quoted."""
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([["step", "return"], [1, 2]])
        file.flush()
        content = path.read_bytes()
        writer.writerow([3, 4])
    assert cut(path, len(content), 2) == content


@pytest.mark.parametrize(("size", "columns"), [(5, 2), (8, 1), (8, 3), (8, 10**12), (100, 2)])
def test_what_the_file_never_held_is_refused(size: int, columns: int, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    assert cut(path, 8, 2) == b"a,b\n1,2\n"
    with pytest.raises(DamagedError, match=rf"has no row that ends where the checkpoint saw its end, at byte {size}$"):
        cut(path, size, columns)


def test_extents_come_back() -> None:
    assert read_extents({"a.csv": [8, 2]}) == {"a.csv": Extent(8, 2)}


@pytest.mark.parametrize("numbers", [8, [8], [8, 2, 1], [8, -1], [8, 2.0], [True, 2], None])
def test_what_is_no_extent_is_refused(numbers: Any) -> None:
    with pytest.raises(ValueError, match="it saw"):
        read_extents({"a.csv": numbers})
