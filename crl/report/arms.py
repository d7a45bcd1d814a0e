"""The arms of a report: runs that differ in nothing but their seeds, with a name, a color and a number on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from crl.compare.groups import Group, grouped, oracle_of, reference_of
from crl.compare.places import names_of
from crl.metrics import Segment
from crl.plot.figure import Group as Drawn
from crl.plot.figure import styles
from crl.plot.reading import Curves, Span
from crl.plot.thinning import thinned
from crl.report.reading import Reported

POINTS = 10_000  # of all curves in a panel
MOST, LEAST = 400, 60  # rows of a run that are drawn


@dataclass(frozen=True)
class Arm:
    """Runs that differ in nothing but their seeds.

    Attributes:
        name: on the page.
        runs: in the order in which they were given.
        drawn: how its curves are drawn.
    """

    name: str
    runs: list[Reported]
    drawn: Drawn


@dataclass(frozen=True)
class Compared:
    """All arms of a report.

    Attributes:
        arms: in the order of their first runs.
        groups: of those runs that have ended.
    """

    arms: list[Arm]
    groups: list[Group]

    @property
    def runs(self) -> list[Reported]:
        """Of all arms."""
        return [run for arm in self.arms for run in arm.runs]

    @property
    def drawn(self) -> list[Drawn]:
        """How their curves are drawn."""
        return [arm.drawn for arm in self.arms]

    @property
    def reference(self) -> Group | None:
        """With which the others are compared."""
        return reference_of(self.groups) if self.groups else None

    @property
    def oracle(self) -> Group | None:
        """Whose agent is made anew for every visit."""
        return oracle_of(self.groups)

    def style_of(self, group: Group) -> Drawn:
        """How the curves of a group are drawn."""
        return next(arm.drawn for arm in self.arms if arm.name == group.label)

    @cached_property
    def segments(self) -> list[Segment]:
        """What was trained when; nothing where no run has ended, or seeds have orders of their own."""
        found = [run.ended.segments for run in self.runs if run.ended is not None]
        return found[0] if found and all(each == found[0] for each in found) else []

    @cached_property
    def spans(self) -> list[Span]:
        """What is played when, as far as runs have come; nothing where seeds have orders of their own."""
        curves = [run for drawn in self.drawn for run in drawn.runs]
        longest = max(curves, key=lambda run: float(run.steps.max()), default=None)
        if longest is None:
            return []
        played = longest.played()
        alike = all(played.get(segment, task) == task for run in curves for segment, task in run.played().items())
        return longest.spans() if alike else []


def compared(runs: Sequence[Reported]) -> Compared:
    """The runs as arms.

    Raises:
        ConfigError: two runs of an arm that have ended have the same seed.
    """
    names = names_of([(run.arm, run.config) for run in runs])
    ended = [(run.ended, name) for run, name in zip(runs, names, strict=True) if run.ended is not None]
    groups = grouped([run for run, _ in ended], [name for _, name in ended]) if ended else []
    there = [run for run in runs if run.curves is not None]
    points = min(MOST, max(LEAST, POINTS // max(len(there), 1)))
    thin = thinned([run.curves for run in there if run.curves is not None], points)
    curves = {run.folder: drawn for run, drawn in zip(there, thin, strict=True)}
    together = {name: [run for run, own in zip(runs, names, strict=True) if own == name] for name in names}
    arms = [
        Arm(name, of, _drawn(number, name, of, curves, style))
        for number, ((name, of), style) in enumerate(zip(together.items(), styles(len(together)), strict=True))
    ]
    return Compared(arms, groups)


def _drawn(
    number: int, name: str, runs: Sequence[Reported], curves: Mapping[Path, Curves], style: tuple[Any, str]
) -> Drawn:
    color, dashes = style
    count = f" ({len(runs)} runs)" if len(runs) > 1 else ""
    mine = [curves[run.folder] for run in runs if run.folder in curves]
    return Drawn(f"{name}{count}", color, mine, dashes, f"arm{number}")
