"""How a benchmark is declared: a row, whose sides do the same work.

A side is a function that prepares the work and returns a repetition of it::

    def crl(steps: int) -> Repetition:
        model = agents.DQN(...)

        def repetition() -> float:
            model.learn(steps)
            return steps

        return repetition

It is called in a process of its own, by its module and name, so that it is a function of a module that can be imported
without what the side needs, and its settings are JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

ROOT = Path(__file__).resolve().parents[2]
"""Of the clone, in which sides are run."""


class Missing(Exception):  # noqa: N818 (nothing has gone wrong)
    """A side cannot be measured here: one sentence with what is missing and the remedy."""


class Spent(NamedTuple):
    """What a repetition took, where its side knows more than a clock around it does.

    Attributes:
        work: units of work that were done, such as steps.
        seconds: that they took; None for all of the repetition.
        processor: seconds of all threads' processor time that they took; None for all of the repetition.
        megabytes: that they hold; None for the most that the process has held.
        learnt: what must be the same on all sides, or they did not do the same work.
        notes: what else is told of it, name -> number.
    """

    work: float
    seconds: float | None = None
    processor: float | None = None
    megabytes: float | None = None
    learnt: str = ""
    notes: Mapping[str, float] = {}


Repetition: TypeAlias = Callable[[], float | Spent]
"""Does the work once; what it took, or how many units were done."""


@dataclass(frozen=True)
class Unit:
    """What is measured.

    Attributes:
        name: of it, as it is shown.
        kind: work by time, of which more is better; time by work, or memory, of which less is.
        scale: of times, from seconds to the unit.
    """

    name: str
    kind: Literal["rate", "time", "memory"]
    scale: float = 1.0

    def value(self, work: float, seconds: float, megabytes: float) -> float:
        """What was measured, in this unit."""
        if self.kind == "memory":
            return megabytes
        return work / seconds if self.kind == "rate" else self.scale * seconds / work


STEPS = Unit("steps/s", "rate")
SECONDS = Unit("s", "time")
MILLISECONDS = Unit("ms", "time", 1e3)
MICROSECONDS = Unit("us", "time", 1e6)
MEGABYTES = Unit("MB", "memory")


@dataclass(frozen=True)
class Side:
    """One of those who do the work.

    Attributes:
        make: prepares it, given the row's settings and its own.
        settings: of this side alone.
        at_least: what its ratio to the first side has to be; None for anything.
        at_most: what it may be.
        needs: packages without which it cannot be measured, by their names on PyPI.
        elsewhere: whether it needs the environment of the peers (`--peers`).
    """

    make: Callable[..., Repetition]
    settings: Mapping[str, Any] = field(default_factory=dict)
    at_least: float | None = None
    at_most: float | None = None
    needs: tuple[str, ...] = ()
    elsewhere: bool = False


@dataclass(frozen=True)
class Row:
    """Work that is done by several sides, and what is measured of it.

    Attributes:
        name: of the benchmark, ``group/name``.
        title: the work, in a few words.
        sides: who does it; ratios are to the first one.
        unit: what is measured.
        settings: of the work, for all sides.
        quick: changes to them with which it takes seconds, to see that it runs.
        repetitions: of each side, in turn.
        fresh: whether each repetition has a process of its own, as where the most memory counts or a whole run is
            timed; else a side's process stays, and the first repetition in it, which warms up, is not counted.
        threads: of each side; None for all cores that there are.
    """

    name: str
    title: str
    sides: Mapping[str, Side]
    unit: Unit = STEPS
    settings: Mapping[str, Any] = field(default_factory=dict)
    quick: Mapping[str, Any] = field(default_factory=dict)
    repetitions: int = 5
    fresh: bool = False
    threads: int | None = 1

    def __post_init__(self) -> None:
        if self.repetitions < 5 or len(self.sides) < 2:
            raise ValueError(f"{self.name} has {len(self.sides)} sides and {self.repetitions} repetitions, not 2 and 5")


class Group(NamedTuple):
    """Rows that belong together.

    Attributes:
        name: of the module that declares them.
        title: the question that they answer.
        rows: what is measured.
    """

    name: str
    title: str
    rows: Sequence[Row]
