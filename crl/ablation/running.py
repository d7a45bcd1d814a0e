"""Working off an ablation, from the check of all its runs to the tables of their results."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from crl.ablation import hparams, launching, record, tables, teams, trial, worker
from crl.ablation.board import Board, clock
from crl.ablation.grid import Grid
from crl.ablation.loop import Loop, Status
from crl.ablation.plan import Planned, memory_needed, memory_together, modules_of, planned, workers_that_fit
from crl.ablation.settings import LOCAL, MOST_AT_ONCE, RAY
from crl.config.messages import printable
from crl.exit_codes import DONE, INTERRUPTED
from crl.opening import check_entries
from crl.screen import GIGA, say, warn
from crl.shell import typed
from envs.threads import available_cores


def ablate(
    grid: Grid,
    workers: int | None = None,
    launcher: str = LOCAL,
    overrides: Sequence[str] = (),
    *,
    dry_run: bool = False,
) -> int:
    """Work off an ablation; several processes may do so at once.

    Args:
        grid: its runs.
        workers: runs at once; left out, one on each core of this machine, as far as memory allows, and all that a
            cluster takes.
        launcher: what starts them: `local`, `ray` or `slurm`.
        overrides: with which the grid was read, for the command that goes on with it.
        dry_run: show the runs and an estimate of their time, and begin none.

    Returns:
        The exit code: 0 where all runs are finished.

    Raises:
        ConfigError: something is refused, in one sentence; no run has been begun.
    """
    if grid.folder.is_dir():
        check_entries(grid.folder)
    with modules_of(grid):
        record.check(grid)
        runs = planned(grid)
        left = [run for run in runs.values() if not run.is_finished()]
        here = launcher == LOCAL  # else neither this machine's memory matters nor which devices it has
        needed = memory_needed([*runs.values()]) if left and (here or dry_run) else {}
        fitting = min(len(runs), MOST_AT_ONCE) if workers is None else workers
        formed = _teams(grid, left, (workers or available_cores()) if here else 1)
        if here:
            sizes = {run.cell.name: len(team) for team in formed.values() for run in team}
            most = [memory_together(needed[run.cell.arm], sizes.get(run.cell.name, 1)) for run in left]
            fitting = workers_that_fit(workers, available_cores(), max(most, default=0))
        if dry_run:
            return _show_plan(grid, runs, needed, fitting, formed)
    record.keep(grid)
    again = ["crl", "ablate", str(grid.file), *overrides, *([] if here else ["--launcher", launcher])]
    again += [] if workers is None else ["--workers", str(workers)]
    kind = launcher if left else LOCAL  # no cluster is needed for nothing
    return _work_off(grid, runs, formed, fitting, kind, again)


def _teams(grid: Grid, left: Sequence[Planned], workers: int) -> Mapping[str, Sequence[Planned]]:
    """Which runs are trained together; where that is asked for and cannot be, it is told why."""
    if not grid.together:
        return {}
    apart = teams.why_apart(left)
    for sentence in teams.told(apart):
        warn(sentence)
    return teams.formed(left, apart, workers)


def _launcher(kind: str, grid: Grid, command: Callable[[str], Sequence[str]]) -> launching.Launcher:
    """What starts the workers of an ablation."""
    if kind == LOCAL:
        return launching.Local(grid.folder, command, worker.environment())
    if kind == RAY:
        from crl.ablation.ray_tasks import Ray

        return Ray(grid.folder, command, grid.ray)
    from crl.ablation.slurm_jobs import Slurm

    return Slurm(grid.folder, command, grid.slurm)


def _work_off(
    grid: Grid,
    runs: Mapping[str, Planned],
    formed: Mapping[str, Sequence[Planned]],
    workers: int,
    kind: str,
    again: Sequence[str],
) -> int:
    team_of = {run.cell.name: team for team, members in formed.items() for run in members}
    token = uuid.uuid4().hex[:8]  # another process may train the same teams

    def command(unit: str) -> list[str]:
        names = loop.trained[unit]
        if unit not in formed:
            return worker.command(grid.folder, unit, grid.file, grid.base)
        ends_of(unit).unlink(missing_ok=True)
        return worker.command_together(grid.folder, names, grid.file, grid.base, ends_of(unit))

    def ends_of(unit: str) -> Path:
        return launching.output_of(grid.folder, f"{unit}.{token}").with_suffix(".ends")

    def changed(name: str, status: Status) -> None:
        board.changed(name, status)
        if status.state == "done":
            with tolerated():
                hparams.write(runs[name], columns)
            write_tables()

    def write_tables() -> None:
        with tolerated():
            tables.write(grid.folder, runs)

    @contextmanager
    def tolerated() -> Iterator[None]:
        try:
            yield
        except OSError as error:
            warn(f"the results in {str(grid.folder)!r} cannot be written ({error.strerror}); the runs go on")

    def why(name: str) -> str:
        said = launching.last_words(grid.folder, name) or launching.last_words(grid.folder, team_of.get(name, name))
        return printable(said.removeprefix("crl: "))

    columns = hparams.columns(grid.cells)
    count = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
    count += f", {len(team_of)} of them in {len(formed)} team{'' if len(formed) == 1 else 's'}," if formed else ""
    with _launcher(kind, grid, command) as launcher:
        names = {team: [run.cell.name for run in members] for team, members in formed.items()}
        loop = Loop(runs, launcher, workers, changed, why, names, lambda team: launching.ends_in(ends_of(team)))
        at_once = f"{'' if kind == LOCAL else f'by {kind}, at most '}{workers} at once"
        say(f"{count} in {grid.folder}, {at_once}; {launcher.on_interrupt}")
        with Board(loop.statuses, launcher.stopping) as board:
            code = loop.run(lambda: board.show(stopping=loop.wish.count > 0))
    for team in formed:
        ends_of(team).unlink(missing_ok=True)
    write_tables()
    if loop.wish.count:
        say(f"stopped; to go on: {typed(again)}")
    say(f"results: {grid.folder / tables.RUNS} and {tables.VISITS} beside it")
    return code


def _show_plan(
    grid: Grid,
    runs: Mapping[str, Planned],
    needed: Mapping[str, int],
    workers: int,
    formed: Mapping[str, Sequence[Planned]],
) -> int:
    """Print a row for each arm, and how long all will take."""
    left = [run for run in runs.values() if not run.is_finished()]
    try:
        speeds = trial.speeds(left)
    except KeyboardInterrupt:
        return INTERRUPTED
    together = ["together"] if formed else []
    arm_column = Column("arm", overflow="fold")  # cut off, arms of long axes would all look alike
    table = Table(arm_column, "seeds", *together, "finished", "steps", "steps/s", "memory", "time")
    seconds = 0.0
    for arm in dict.fromkeys(run.cell.arm for run in runs.values()):
        mine = [run for run in runs.values() if run.cell.arm == arm]
        todo = [run for run in mine if run in left]
        rate = speeds.get(arm, math.inf)
        spent = sum((run.steps - min(run.reached(), run.steps)) / rate for run in todo)
        seconds += spent
        sizes = [f"{len(team)}" for team in formed.values() if team[0].cell.arm == arm]
        cells = [
            arm, ", ".join(str(run.cell.seed) for run in mine), *([" + ".join(sizes) or "-"] if formed else []),
            f"{len(mine) - len(todo)}", f"{mine[0].steps:,}", f"{rate:,.0f}" if todo else "-",
            f"{needed[arm] / GIGA:.2f} GB" if arm in needed else "-", clock(spent),
        ]  # fmt: skip
        table.add_row(*map(Text, cells))
    Console().print(table)
    say(
        f"{len(left)} of {len(runs)} runs to do in {grid.folder}, {workers} at once: about {clock(seconds / workers)}, "
        f"if each is as fast then as alone{', and less by what training seeds together saves' if formed else ''}"
    )
    return DONE
