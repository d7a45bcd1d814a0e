"""What a measured row looks like: on the screen, and in the generated part of ``benchmarks/README.md``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from benchmarks.harness.declared import Group, Row, Side
from benchmarks.harness.records import Measured, Record, Spread, versions_of

BEGIN, END = "<!-- measured by python -m benchmarks -->", "<!-- end of what is measured -->"
HEADER = ("work", "threads", "first side", "side", "ratio", "required", "peak MB", "on")


class PageError(Exception):
    """A page has no place for the tables: a sentence."""


def lines(record: Record) -> Iterator[str]:
    """What the screen shows of a row that was measured."""
    for name, side in record.sides.items():
        told = f"  {name}: {number(Spread.of(side.values))} {record.unit}, peak {side.peak_mb:,.0f} MB"
        if side.ratio is not None:
            told += f", {_ratio(side.ratio)} times {next(iter(record.sides))}{_by(record)}"
            told += f" (required: {required})" if (required := _required(side)) else ""
            told += ", MISSED" if side.misses else ""
        yield told
        if side.notes:
            yield f"    {', '.join(f'{note} {rounded(value)}' for note, value in side.notes.items())}"
    if record.loaded:
        yield f"  {refusal(record)}"


def refusal(record: Record) -> str:
    """The sentence on a row that was measured under load."""
    busy = f"other processes kept {record.others:.2f} of {record.machine.cores} cores busy"
    if record.ranked_by is None:
        return f"not ranked: {busy}; measure again when they have ended, or rank by --processor-time"
    return f"loaded: {busy}"


def number(spread: Spread) -> str:
    """A median and what it lies between."""
    return f"{rounded(spread.median)} ({rounded(spread.least)} to {rounded(spread.most)})"


def rounded(value: float) -> str:
    """Whole from a thousand on, else with three digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _ratio(spread: Spread) -> str:
    """Three digits behind the point where that is what matters, as near to 1."""
    digits = 3 if 0.01 <= abs(spread.median) < 10 else 1 if spread.median >= 10 else 5
    return f"{spread.median:.{digits}f} ({spread.least:.{digits}f} to {spread.most:.{digits}f})"


def _by(record: Record) -> str:
    return " by processor time" if record.ranked_by == "processor" else ""


def _required(side: Side | Measured) -> str:
    bounds = [f"at least {side.at_least:g}"] if side.at_least is not None else []
    return ", ".join([*bounds, *([f"at most {side.at_most:g}"] if side.at_most is not None else [])])


def page(groups: Iterable[Group], records: Mapping[str, Record]) -> str:
    """The generated part: a table for each group of which a row was measured, and where each was.

    Empty rows are yet to be measured, or need what there was not.

    Args:
        groups: all benchmarks.
        records: row -> what is shown of it.
    """
    places: list[str] = []
    text: list[str] = []
    unmeasured: list[str] = []
    for group in groups:
        if not any(row.name in records for row in group.rows):
            unmeasured.append(f"`{group.name}`")
            continue
        text += [f"### {group.title} `{group.name}`", "", _line(HEADER), "|---" * len(HEADER) + "|"]
        for row in group.rows:
            text += [_line(cells) for cells in _cells(row, records.get(row.name), places)]
        text.append("")
    text += [f"{number}. {place}" for number, place in enumerate(places, 1)]
    text += ["", f"Yet to be measured: {', '.join(unmeasured)}."] if unmeasured else []
    return "\n".join(text).strip()


def rewritten(readme: str, part: str) -> str:
    """A page with another generated part.

    Raises:
        PageError: it has no place for one.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise PageError(f"the page has no lines {BEGIN!r} and {END!r}, between which tables are written; put them back")
    return f"{before}{BEGIN}\n\n{part}\n\n{END}{after}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Row, record: Record | None, places: list[str]) -> Iterator[tuple[str, ...]]:
    """A line for each side but the first."""
    first, *others = row.sides
    known = [] if record is None else [*record.sides]
    if known != [name for name in row.sides if name in known]:  # it is another row than the one that was measured
        known = []
    if record is not None and known and (place := _place(record)) not in places:
        places.append(place)
    for name in others:
        if record is None or not {first, name} <= {*known}:  # a side that came later is yet to be measured
            threads = "all" if row.threads is None else str(row.threads)
            needs = ", ".join(dict.fromkeys(package for side in row.sides.values() for package in side.needs))
            yield row.title, threads, first, name, needs and f"needs {needs}", _required(row.sides[name]), "", ""
            continue
        one, other = (record.sides[each] for each in (first, name))
        found = "loaded" if other.ratio is None else f"{_ratio(other.ratio)}{_by(record)}"
        yield (
            row.title,
            str(record.threads),
            f"{first}: {number(Spread.of(one.values))} {record.unit}",
            f"{name}: {number(Spread.of(other.values))} {record.unit}",
            f"**{found}**, missed" if other.misses else found,
            _required(other),
            f"{one.peak_mb:,.0f}, {other.peak_mb:,.0f}",
            str(places.index(place) + 1),
        )


def _place(record: Record) -> str:
    """When, where and with what it was measured."""
    machine = record.machine
    where = f"{machine.cores} cores of {machine.processor}, {machine.memory_gb:g} GB, {machine.system}"
    versions = ", ".join(f"{package} {version}" for package, version in versions_of(record.sides).items())
    return f"{record.date:%Y-%m-%d}, {where}: {versions}{f', commit {record.commit}' if record.commit else ''}"
