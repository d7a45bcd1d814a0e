"""What the folder of a run says of its returns and resets: read as data, and with suspicion."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crl.config import ConfigError
from crl.config.messages import one_line
from crl.config.reading import read_yaml
from crl.opening import check_entries
from crl.storage.files import DamagedError, read_whole

LOG = "progress.csv"
MAX_LOG = 1 << 28  # bytes: hundreds of millions of steps
STEPS, SEGMENT, RETURN = "time/total_timesteps", "task/segment", "Return/"
RESET, UNITS = "reset/", "/units"
PLASTICITY = "plasticity/"

Numbers = NDArray[np.float64]


class Span(NamedTuple):
    """Visits of one task that follow one another."""

    task: str
    start: float
    stop: float
    first: int
    last: int
    """Numbers of its visits, from 1."""


@dataclass(frozen=True)
class Curves:
    """Rows of a run's logs.

    Attributes:
        folder: of the run.
        config: as its file has it.
        steps: of the games, one for each row.
        segments: index of the visit.
        tasks: name of the task whose returns the row has, empty where it has none.
        returns: mean return of the last episodes, nan where none has ended in the visit.
        resets: network -> units reset from the beginning to the row.
        plasticity: network and measure -> its value, nan where none was due; empty where it was not asked for.
    """

    folder: Path
    config: dict[str, Any]
    steps: Numbers
    segments: Numbers
    tasks: NDArray[np.str_]
    returns: Numbers
    resets: dict[str, Numbers]
    plasticity: dict[str, Numbers] = field(default_factory=dict)

    def played(self) -> dict[float, str]:
        """Segment -> its task, in order; those in which no episode has ended are left out."""
        known = self.tasks != ""
        return dict(zip(self.segments[known].tolist(), self.tasks[known].tolist(), strict=True))

    def spans(self) -> list[Span]:
        """When which task was played, a row's accuracy; without visits in which no episode has ended."""
        played, found = self.played(), list[Span]()
        start, visits = 0.0, dict[str, int]()
        for segment in dict.fromkeys(self.segments.tolist()):
            stop = float(self.steps[self.segments == segment].max())
            if (task := played.get(segment)) is not None:
                number = visits[task] = visits.get(task, 0) + 1
                last = found[-1] if found and found[-1].task == task and found[-1].stop == start else None
                if last is not None:
                    found.pop()
                found.append(Span(task, last.start if last else start, stop, last.first if last else number, number))
            start = stop
        return found


def read(folder: Path, *, plasticity: bool = False) -> Curves:
    """What a run has logged till now.

    Args:
        folder: of the run.
        plasticity: whether its measures are read, too.

    Raises:
        ConfigError: something in it is a link, it has no row of logs yet, or a file is damaged.
    """
    check_entries(folder)
    config = read_yaml(folder / "config.yaml")
    if not isinstance(config, dict):
        raise ConfigError(f"the config of {str(folder)!r} is no mapping; give a folder that crl train has made")
    path = folder / LOG
    try:
        content = read_whole(path, MAX_LOG)
        whole = content[: content.rfind(b"\n") + 1]  # a run that goes on may be writing its last row
        columns = _columns(whole, plasticity)
    except DamagedError as error:
        raise ConfigError(f"{error}; give a run that has written a row of logs") from None
    except (csv.Error, ValueError) as error:
        raise ConfigError(f"{str(path)!r} is no log of crl's ({one_line(error)}); put it back as it was") from None
    if not len(columns.steps):
        raise ConfigError(f"{str(path)!r} has no row yet; wait until the run has written one")
    return Curves(folder, config, *columns)


class _Columns(NamedTuple):
    """See `Curves`."""

    steps: Numbers
    segments: Numbers
    tasks: NDArray[np.str_]
    returns: Numbers
    resets: dict[str, Numbers]
    plasticity: dict[str, Numbers]


def _columns(content: bytes, plasticity: bool) -> _Columns:
    """The columns that are drawn.

    Raises:
        ValueError: a column or a cell is missing.
        csv.Error: it is no CSV.
    """
    rows = csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline=""))
    header = next(rows, [])
    places = {name: place for place, name in enumerate(header)}
    if header and not {STEPS, SEGMENT} <= places.keys():
        raise ValueError(f"it has no columns {STEPS} and {SEGMENT}")
    tasks = [(name.removeprefix(RETURN), place) for name, place in places.items() if name.startswith(RETURN)]
    networks = {
        name.removeprefix(RESET).removesuffix(UNITS): place
        for name, place in places.items()
        if name.startswith(RESET) and name.endswith(UNITS)
    }
    steps, segments, names, returns = list[float](), list[float](), list[str](), list[float]()
    resets: dict[str, list[float]] = {network: [] for network in networks}
    measures = {name: place for name, place in places.items() if plasticity and name.startswith(PLASTICITY)}
    measured: dict[str, list[float]] = {name: [] for name in measures}
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row has {len(row)} cells in place of {len(header)}")
        step, segment = _number(row[places[STEPS]]), _number(row[places[SEGMENT]])
        if math.isnan(step) or math.isnan(segment):
            raise ValueError("a row has no step or no segment")
        task, place = next(((name, place) for name, place in tasks if row[place]), ("", None))
        steps.append(step)
        segments.append(segment)
        names.append(task)
        returns.append(math.nan if place is None else _number(row[place]))
        for network, counts in resets.items():
            counts.append(np.nan_to_num(_number(row[networks[network]])))
        for name, values in measured.items():
            values.append(_number(row[measures[name]]))
    return _Columns(
        np.array(steps),
        np.array(segments),
        np.array(names, dtype=str),
        np.array(returns),
        {network: np.cumsum(counts) for network, counts in resets.items()},
        {name.removeprefix(PLASTICITY): np.array(values) for name, values in measured.items()},
    )


def _number(cell: str) -> float:
    """What a cell holds, nan where that is nothing or not finite."""
    value = float(cell) if cell else math.nan
    return value if math.isfinite(value) else math.nan


def check_same_tasks(runs: Sequence[Curves]) -> None:
    """Refuse runs that play different tasks, or the same ones in another order.

    Raises:
        ConfigError: they do.
    """
    for one, other in itertools.combinations(runs, 2):  # one between two may be too short to tell them apart
        for segment, mine, theirs in _common(one.played(), other.played()):
            if mine != theirs:
                raise ConfigError(
                    f"visit {segment + 1:.0f} is of {mine} in {str(one.folder)!r} and of {theirs} in "
                    f"{str(other.folder)!r}; draw runs of different streams apart"
                )


def _common(one: dict[float, str], other: dict[float, str]) -> Iterator[tuple[float, str, str]]:
    return ((segment, task, other[segment]) for segment, task in one.items() if segment in other)
