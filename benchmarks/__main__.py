"""``python -m benchmarks``: measure what is declared in `benchmarks.speed`, both sides in turn, and keep it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from filelock import FileLock

from benchmarks.harness import records, table
from benchmarks.harness.declared import ROOT, Group, Missing, Row
from benchmarks.harness.measuring import How, measure
from benchmarks.harness.process import SideError
from benchmarks.speed import groups
from crl.config.messages import nearest
from crl.exit_codes import DONE, FAILED, INTERRUPTED, REFUSED
from crl.storage import replace_file
from crl.usage import UsageError, sentence

RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "benchmarks" / "README.md"


def main(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="A group such as ppo, or a row of it; all where none.", show_default=False),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Show what can be measured.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="As little work as shows that all of it runs; nothing is kept.")
    ] = False,
    repetitions: Annotated[
        int | None,
        typer.Option(min=5, help="Of each side, in turn; left out, as many as each row has.", show_default=False),
    ] = None,
    peers: Annotated[
        Path | None,
        typer.Option(
            envvar="BENCHMARKS_PEERS",
            help="Python of an environment with peers that crl does not need, such as sbx-rl; their rows stay empty "
            "without it.",
            show_default=False,
        ),
    ] = None,
    processor_time: Annotated[
        bool, typer.Option("--processor-time", help="Under load rank by processor time, in place of not at all.")
    ] = False,
) -> None:
    """Measure speed and memory, each side in turn on the same work, and write the tables of benchmarks/README.md."""
    everything = groups()
    rows = [row for group in chosen(everything, names or []) for row in group.rows]
    if listing:
        for row in rows:
            print(f"{row.name}: {row.title} ({', '.join(row.sides)})")
        return
    if not quick:
        _tables(everything, RESULTS, README)  # what cannot be read or written is refused now, not after an hour
    how = How(sys.executable, None if peers is None else str(peers), quick, repetitions, processor_time)
    failed = [row.name for row in rows if not _measured(row, how, everything)]
    if failed:
        print(f"benchmarks: {', '.join(failed)} failed", file=sys.stderr)
    raise typer.Exit(FAILED if failed else DONE)


def chosen(everything: Sequence[Group], names: Sequence[str]) -> list[Group]:
    """The groups, and of these the rows, that some names mean; all where there are none.

    Raises:
        UsageError: there is no such name.
    """
    known = [name for group in everything for name in (group.name, *(row.name for row in group.rows))]
    for name in names:
        if name not in known:
            raise UsageError(f"there is no benchmark {name!r}; {nearest(name, known)}")
    kept = [
        group._replace(rows=[row for row in group.rows if not names or group.name in names or row.name in names])
        for group in everything
    ]
    return [group for group in kept if group.rows]


def _measured(row: Row, how: How, everything: Sequence[Group]) -> bool:
    """Measure a row and keep what was found; whether nothing has failed."""
    print(f"{row.name}: {row.title}", flush=True)
    try:
        record = measure(row, how, lambda text: print(f"  {text}", flush=True))
    except Missing as missing:
        print(f"  not measured: {missing}", flush=True)
        return True
    except SideError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return False
    print("\n".join(table.lines(record)), flush=True)
    if not how.quick:
        keep(record, everything)
    return True


def keep(record: records.Record, everything: Sequence[Group], results: Path = RESULTS, readme: Path = README) -> None:
    """Add a record to the results, and write the tables anew from all of them."""
    results.mkdir(parents=True, exist_ok=True)
    with FileLock(results / ".lock"):  # somebody else may measure other rows meanwhile
        records.append(record, results)
        replace_file(readme, _tables(everything, results, readme).encode())


def _tables(everything: Sequence[Group], results: Path, readme: Path) -> str:
    """The page with the tables of what has been measured."""
    try:
        found = records.shown([row.name for group in everything for row in group.rows], results)
        return table.rewritten(readme.read_text(encoding="utf-8"), table.page(everything, found))
    except (records.RecordError, table.PageError) as error:
        raise UsageError(str(error)) from None


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        sys.exit(app(prog_name="python -m benchmarks", standalone_mode=False) or DONE)
    except typer.Abort:
        sys.exit(INTERRUPTED)
    except UsageError as error:
        said = error.format_message() if error.ctx is None else sentence(error, sys.argv[1:])
        print(f"benchmarks: {said}", file=sys.stderr)
        sys.exit(REFUSED)
