"""Measuring a row: its sides by turns, then medians, spreads and ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any, NamedTuple

from benchmarks.harness.declared import Missing, Row, Side, Unit
from benchmarks.harness.load import cores_of_others, is_loaded
from benchmarks.harness.process import SideError, SideProcess, Took
from benchmarks.harness.records import By, Machine, Measured, Moment, Record, commit, ratio
from benchmarks.harness.table import rounded
from envs.threads import available_threads

QUICK = 2  # repetitions with which each side comes first once


class How(NamedTuple):
    """How rows are measured.

    Attributes:
        python: that ours, and peers which need nothing else, run with.
        peers: that of the environment of the other peers; None for none.
        quick: as little work as shows that it runs.
        repetitions: of each side; None for as many as the row has.
        by_processor: rank sides by processor time under load, in place of not at all.
    """

    python: str
    peers: str | None = None
    quick: bool = False
    repetitions: int | None = None
    by_processor: bool = False


def measure(row: Row, how: How, tell: Callable[[str], None] = lambda text: None) -> Record:
    """Measure a row.

    Args:
        row: what is measured.
        how: that is done.
        tell: is told of each repetition.

    Raises:
        Missing: a side cannot be measured here.
        SideError: one has failed, or has not done the work that the others have.
    """
    settings = {**row.settings, **(row.quick if how.quick else {})}
    threads = available_threads() if row.threads is None else row.threads
    repetitions = QUICK if how.quick else how.repetitions or row.repetitions
    moment = Moment.now()
    with ExitStack() as stack:
        versions, repeat = _prepared(row, settings, threads, how, stack)
        took: dict[str, list[Took]] = {name: [] for name in row.sides}
        for number, name in enumerate(in_turn([*row.sides], repetitions)):
            found = repeat(name)
            took[name].append(found)
            value = row.unit.value(found.work, found.seconds, found.megabytes)
            tell(f"round {number // len(row.sides) + 1} of {repetitions}: {name} {rounded(value)} {row.unit.name}")
    _check_same(row, took)
    return _record(row, took, versions, moment, settings, threads, how)


def in_turn(sides: list[str], rounds: int) -> list[str]:
    """Who does the work when: in every other round in reverse, so that nobody always follows the same one."""
    return [name for number in range(rounds) for name in (sides if number % 2 == 0 else reversed(sides))]


def _prepared(
    row: Row, settings: Mapping[str, Any], threads: int, how: How, stack: ExitStack
) -> tuple[dict[str, dict[str, str]], Callable[[str], Took]]:
    """The versions of each side, and what repeats its work."""
    versions: dict[str, dict[str, str]] = {}

    def process(name: str) -> SideProcess:
        side = row.sides[name]
        made = SideProcess(side, settings, threads, _python(side, how))
        versions[name] = made.versions
        return made

    def afresh(name: str) -> Took:
        with process(name) as made:
            return made.repeat()

    for side in row.sides.values():
        _python(side, how)
    if row.fresh:
        for name in row.sides:  # what is missing is known before any of them works
            process(name).close()
        return versions, afresh
    kept = {name: stack.enter_context(process(name)) for name in row.sides}
    for made in kept.values():
        made.repeat()  # warms up
    return versions, lambda name: kept[name].repeat()


def _python(side: Side, how: How) -> str:
    if not side.elsewhere:
        return how.python
    if how.peers is None:
        raise Missing(
            f"a peer needs {' and '.join(side.needs)} in an environment of its own; "
            "give its python by --peers or BENCHMARKS_PEERS"
        )
    return how.peers


def _check_same(row: Row, took: Mapping[str, list[Took]]) -> None:
    """All sides that tell what they have learnt must have learnt the same, or they did not do the same work."""
    for found in zip(*took.values(), strict=True):
        told = {each.learnt for each in found if each.learnt}
        if len(told) > 1:
            raise SideError(f"the sides of {row.name} have not learnt the same, so that their times say nothing")


def _record(
    row: Row,
    took: Mapping[str, list[Took]],
    versions: Mapping[str, dict[str, str]],
    moment: Moment,
    settings: Mapping[str, Any],
    threads: int,
    how: How,
) -> Record:
    everything = [each for found in took.values() for each in found]
    others = cores_of_others(sum(each.others for each in everything), sum(each.waited for each in everything))
    ranked_by = _ranked_by(row.unit, is_loaded(others), how)
    sides = {name: _measured(row, name, took, versions[name], ranked_by) for name in row.sides}
    return Record(
        benchmark=row.name, date=moment.date, unit=row.unit.name, commit=commit(), threads=threads,
        settings=dict(settings), load=moment.load, others=others, loaded=is_loaded(others), ranked_by=ranked_by,
        machine=Machine.here(), sides=sides,
    )  # fmt: skip


def _ranked_by(unit: Unit, loaded: bool, how: How) -> By | None:
    """What sides are ranked by; None for not at all."""
    if unit.kind == "memory":  # of which a loaded machine takes as much
        return "memory"
    if loaded:
        return "processor" if how.by_processor else None
    return "clock"


def _measured(
    row: Row, name: str, took: Mapping[str, list[Took]], versions: dict[str, str], ranked_by: By | None
) -> Measured:
    side, found, first = row.sides[name], took[name], next(iter(row.sides))
    ranked = {each: _values(row.unit, took[each], ranked_by or "clock") for each in (name, first)}
    return Measured(
        values=_values(row.unit, found, "clock"),
        by_processor=_values(row.unit, found, "processor"),
        ratio=None if ranked_by is None or name == first else ratio(ranked[name], ranked[first]),
        at_least=side.at_least,
        at_most=side.at_most,
        peak_mb=max(each.peak for each in found),
        notes={note: median(each.notes[note] for each in found) for note in found[0].notes},
        versions=versions,
    )


def _values(unit: Unit, found: Sequence[Took], by: By) -> tuple[float, ...]:
    """What each repetition comes to."""
    seconds = [each.processor if by == "processor" else each.seconds for each in found]
    return tuple(unit.value(each.work, spent, each.megabytes) for each, spent in zip(found, seconds, strict=True))
