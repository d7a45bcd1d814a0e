"""What has been measured: lines of ``benchmarks/results/GROUP.jsonl``."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks.harness.load import load_average
from crl.versions import processor_name

By: TypeAlias = Literal["clock", "processor", "memory"]
"""What sides are ranked by."""
WRITTEN = (":(top,exclude)benchmarks/results", ":(top,exclude)benchmarks/README.md")
"""What measuring itself changes, as git is told."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Spread(_Model):
    """The median of some numbers, and how far they spread."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, numbers: Iterable[float]) -> Self:
        """That of these numbers, of which there is one at least."""
        found = [*numbers]
        return cls(median=median(found), least=min(found), most=max(found))


def ratio(values: Sequence[float], others: Sequence[float]) -> Spread:
    """How many times the others some values are, by rounds, because what disturbs the machine disturbs both sides."""
    return Spread.of(one / other for one, other in zip(values, others, strict=True))


class Measured(_Model):
    """What was measured of one side.

    Attributes:
        values: of each repetition, by the clock; megabytes where memory is measured.
        by_processor: the same by processor time.
        ratio: to the first side, None for that one and where sides are not ranked.
        at_least: what the ratio has to be.
        at_most: what it may be.
        peak_mb: the most memory that a process of this side has held.
        notes: what else the side has told, medians.
        versions: of what it ran with.
    """

    values: tuple[float, ...]
    by_processor: tuple[float, ...]
    ratio: Spread | None
    at_least: float | None
    at_most: float | None
    peak_mb: float
    notes: dict[str, float]
    versions: dict[str, str]

    @property
    def misses(self) -> bool:
        """Whether its ratio is not what is required."""
        if self.ratio is None:
            return False
        found = self.ratio.median
        return (self.at_least is not None and found < self.at_least) or (
            self.at_most is not None and found > self.at_most
        )


class Machine(_Model):
    """Where it was measured."""

    processor: str
    cores: int
    memory_gb: float
    system: str

    @classmethod
    def here(cls) -> Self:
        """This machine."""
        memory = round(psutil.virtual_memory().total / 1e9, 1)
        system = f"{platform.system()} {platform.release()}"
        return cls(processor=processor_name(), cores=psutil.cpu_count() or 1, memory_gb=memory, system=system)


class Record(_Model):
    """A row that was measured.

    Attributes:
        benchmark: its name.
        unit: of the values.
        commit: of the working tree; empty where that cannot be told.
        load: averages of the machine before.
        others: cores that other processes kept busy meanwhile, on average.
        loaded: whether these are too many for times to be compared.
        ranked_by: what the ratios are of; None where there are none.
    """

    benchmark: str
    date: datetime
    unit: str
    commit: str
    threads: int
    settings: dict[str, Any]
    load: tuple[float, float, float]
    others: float
    loaded: bool
    ranked_by: By | None
    machine: Machine
    sides: dict[str, Measured]


class Moment(NamedTuple):
    """When something began to be measured, and what the machine did then."""

    date: datetime
    load: tuple[float, float, float]

    @classmethod
    def now(cls) -> Self:
        """This one."""
        return cls(datetime.now(UTC).replace(microsecond=0), load_average())


def commit() -> str:
    """That of the working tree, with ``-dirty`` where anything but results has been changed."""
    try:
        last = _git("rev-parse", "--short", "HEAD")
        return f"{last}-dirty" if _git("diff", "--name-only", "HEAD", "--", ":/", *WRITTEN) else last
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


class RecordError(Exception):
    """A line of results cannot be read: a sentence."""


def append(record: Record, folder: Path) -> Path:
    """Add a record to the file of its group, which it returns; one write, so that no other process writes into it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = file_of(record.benchmark, folder)
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(f"{record.model_dump_json()}\n")
    return path


def file_of(benchmark: str, folder: Path) -> Path:
    """The file of a benchmark's group."""
    return folder / f"{benchmark.partition('/')[0]}.jsonl"


def shown(benchmarks: Iterable[str], folder: Path) -> dict[str, Record]:
    """Benchmark -> what a table shows of it: the newest record whose sides are ranked or, where there is none, of all.

    Raises:
        RecordError: a line cannot be read.
    """
    files = dict.fromkeys(file_of(name, folder) for name in benchmarks)
    found: dict[str, Record] = {}
    for record in (record for path in files if path.exists() for record in _read(path)):
        best = found.get(record.benchmark)
        if best is None or record.ranked_by is not None or best.ranked_by is None:
            found[record.benchmark] = record
    return found


def _read(path: Path) -> Iterator[Record]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            yield Record.model_validate_json(line)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "the line"
            raise RecordError(
                f"line {number} of {str(path)!r} is no record of a benchmark ({where}: {problem['msg']}); remove it"
            ) from None


def versions_of(sides: Mapping[str, Measured]) -> dict[str, str]:
    """Those of all sides together."""
    return {package: version for side in sides.values() for package, version in side.versions.items()}
