"""Logs: what was cut to a checkpoint and gone on with is what an uninterrupted run would have written."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from stable_baselines3.common.logger import Figure, FormatUnsupportedError, Logger, TensorBoardOutputFormat
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from crl.logs import CSV, CsvWriter, EventWriter, Extent, extents, missing, read_extents, truncate
from crl.storage import DamagedError

Row = dict[str, Any]

START: list[Row] = [{"time/fps": 10, "b": 0.1, "a": -1}, {"a": 2.5, "time/fps": 11}]
LATER: list[Row] = [
    {"a": 3, 'loss, of "x"': 1e-9, "b": 7},
    {"b": 5, "text": 'two\nlines, "quoted"', "ä": "ö"},
    {"a": 6},
]


def open_logs(folder: Path) -> Logger:
    return Logger(str(folder), [CsvWriter(folder / CSV), EventWriter(folder)])


def seen_in(folder: Path, logger: Logger | None = None) -> dict[str, Extent]:
    """How much of each log there is, of a logger that has flushed."""
    for output in logger.output_formats if logger is not None else ():
        if isinstance(output, TensorBoardOutputFormat):
            output.writer.flush()
    return extents(folder, [CSV])


def cut(folder: Path, seen: dict[str, Extent]) -> None:
    truncate(folder, seen, [CSV])


def record(logger: Logger, rows: Sequence[Row], first: int = 0) -> None:
    for step, row in enumerate(rows, start=first):
        for tag, value in row.items():
            logger.record(tag, value)
        logger.dump(step)


def written(folder: Path, rows: Sequence[Row]) -> bytes:
    """The CSV file of a run that nothing interrupted."""
    folder.mkdir()
    logger = open_logs(folder)
    record(logger, rows)
    logger.close()
    return (folder / "progress.csv").read_bytes()


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder)).Reload()
    # By step: event files of the same second and process are read in the order of their names.
    return {tag: sorted((event.step, event.value) for event in events.Scalars(tag)) for tag in events.Tags()["scalars"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "a [run] with spaces"
    path.mkdir()
    return path


def test_columns_come_in_the_order_of_their_first_row(folder: Path) -> None:
    logger = open_logs(folder)
    record(logger, START)
    assert (folder / "progress.csv").read_text() == "a,b,time/fps\n-1,0.1,10\n2.5,,11\n"
    record(logger, LATER)
    logger.close()
    with (folder / "progress.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["a", "b", "time/fps", 'loss, of "x"', "text", "ä"]
    expected = [{tag: str(row.get(tag, "")) for tag in found[0]} for row in START + LATER]
    assert found == expected


def test_what_is_excluded_empty_or_no_number_gets_no_column(folder: Path) -> None:
    logger = open_logs(folder)
    logger.dump(0)
    logger.record("a", 1)
    logger.record("hidden", 1, exclude="csv")
    logger.record("none", None)
    logger.dump(1)
    assert (folder / "progress.csv").read_text() == "a\n1\n"
    logger.record("figure", Figure(figure=None, close=False))  # type: ignore[arg-type]
    with pytest.raises(FormatUnsupportedError, match="csv"):
        logger.dump(2)
    logger.close()


def rows_of_one(kinds: Sequence[int]) -> list[Row]:
    return [{"abcdef"[kind]: kind} if kind >= 0 else {} for kind in kinds]


CASES: dict[str, tuple[list[Row], list[Row]]] = {
    "same columns": (START, START),
    "columns came later": (START, LATER),
    "nothing before": ([], START),
    "nothing after": (START, []),
    "a column with each row": (rows_of_one([0, 1, 2]), rows_of_one([3, 4, 5])),
    "empty rows": (rows_of_one([0, -1, -1]), rows_of_one([-1, 1, -1])),
    "an empty file": ([], []),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_was_cut_goes_on_as_if_it_had_not_been(case: str, folder: Path, tmp_path: Path) -> None:
    before, after = CASES[case]
    expected = written(tmp_path / "uninterrupted", before + after)
    logger = open_logs(folder)
    record(logger, before)
    seen = seen_in(folder, logger)
    assert seen["progress.csv"].size == len(written(tmp_path / "before", before))
    record(logger, [*after, {"lost": 1, "b": -9}], first=len(before))
    logger.close()
    for _ in range(2):  # and once more: killed, and back at the same checkpoint
        cut(folder, seen)
        assert seen_in(folder) == seen
        logger = open_logs(folder)
        record(logger, after, first=len(before))
        logger.close()
        assert (folder / "progress.csv").read_bytes() == expected
        assert scalars(folder) == scalars(tmp_path / "uninterrupted")


def test_every_row_can_be_cut_to(folder: Path) -> None:
    logger = open_logs(folder)
    rows = START + LATER + rows_of_one([0, 5, 1, 3, -1, 2, 4])
    states = []
    for step, row in enumerate(rows):
        record(logger, [row], first=step)
        states.append((seen_in(folder, logger), (folder / "progress.csv").read_bytes()))
    logger.close()
    for seen, content in reversed(states):
        cut(folder, seen)
        assert (folder / "progress.csv").read_bytes() == content
        assert seen_in(folder) == seen


def test_what_is_pending_is_flushed_before_it_is_measured(folder: Path) -> None:
    logger = open_logs(folder)
    for output in logger.output_formats:
        if isinstance(output, TensorBoardOutputFormat):
            output.writer.add_scalar("early", 2.0, 0)
    seen = seen_in(folder, logger)
    logger.close()
    cut(folder, seen)
    assert scalars(folder) == {"early": [(0, 2.0)]}


def test_half_a_row_is_cut_off(folder: Path) -> None:
    logger = open_logs(folder)
    record(logger, START)
    seen = seen_in(folder, logger)
    logger.close()
    content = (folder / "progress.csv").read_bytes()
    for rest in (b'3,"half', b"3", b"\xc3", bytes(500), b"1,2,3,4,5\n"):
        (folder / "progress.csv").write_bytes(content + rest)
        cut(folder, seen)
        assert (folder / "progress.csv").read_bytes() == content


def test_without_a_checkpoint_all_logs_go_and_nothing_else(folder: Path) -> None:
    logger = open_logs(folder)
    record(logger, START)
    logger.close()
    for name in ("config.yaml", "progress.csv.mine", "events.txt"):
        (folder / name).write_text("")
    cut(folder, {})
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "events.txt", "progress.csv.mine"]


def shorter(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def replaced(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def changed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"2.5", b"2.75"))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("progress.csv", replaced, "is no file; the checkpoint saw 31 bytes of one"),
        ("progress.csv", shorter, "has 30 bytes; the checkpoint saw 31"),
        ("progress.csv", changed, "has no row that ends where the checkpoint saw its end, at byte 31"),
        ("events.out.tfevents.", shorter, "the checkpoint saw"),
    ],
)
def test_what_cannot_be_gone_on_with_is_refused_and_left(
    name: str, damage: Callable[[Path], None], message: str, folder: Path
) -> None:
    logger = open_logs(folder)
    record(logger, START)
    seen = seen_in(folder, logger)
    record(logger, LATER)
    logger.close()
    if damage is shorter:
        cut(folder, seen)
    damage(next(path for path in folder.iterdir() if path.name.startswith(name)))
    before = {path.name: path.is_file() and path.read_bytes() for path in folder.iterdir()}
    for act in (missing, cut):
        with pytest.raises(DamagedError, match=message) as refusal:
            act(folder, seen)
        assert "\n" not in str(refusal.value)
        assert {path.name: path.is_file() and path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["progress.csv", "events.out.tfevents."])
def test_what_is_missing_is_begun_anew(name: str, folder: Path) -> None:
    logger = open_logs(folder)
    record(logger, START)
    seen = seen_in(folder, logger)
    record(logger, LATER, first=len(START))
    logger.close()
    assert missing(folder, seen) == []
    gone = [path for path in folder.iterdir() if path.name.startswith(name)]
    for path in gone:
        path.unlink()
    assert missing(folder, seen) == gone
    assert missing(folder, dict.fromkeys(seen, Extent(0, 0))) == []  # there was nothing in it
    cut(folder, seen)
    assert seen_in(folder) == {name: extent for name, extent in seen.items() if folder / name not in gone}
    logger = open_logs(folder)
    record(logger, rows_of_one([1]), first=2)
    logger.close()
    text = (folder / "progress.csv").read_text()
    assert text == ("b\n1\n" if name == "progress.csv" else "a,b,time/fps\n-1,0.1,10\n2.5,,11\n,1,\n")
    steps = [step for step, _ in scalars(folder)["b"]]
    assert steps == ([0, 2] if name == "progress.csv" else [2])


@pytest.mark.parametrize("name", ["config.yaml", "../progress.csv", "events.out.tfevents.1/../config.yaml", ""])
def test_only_logs_are_cut(name: str) -> None:
    with pytest.raises(ValueError, match="is no log file"):
        read_extents({name: [0, 0]})


def test_a_kill_while_columns_are_added_leaves_the_old_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = open_logs(folder)
    record(logger, START)
    seen = seen_in(folder, logger)
    content = (folder / "progress.csv").read_bytes()

    def killed(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        record(logger, LATER)
    monkeypatch.undo()
    logger.close()
    assert (folder / "progress.csv").read_bytes() == content
    cut(folder, seen)
    assert (folder / "progress.csv").read_bytes() == content
    assert sorted(path.name for path in folder.iterdir()) == sorted(seen)
