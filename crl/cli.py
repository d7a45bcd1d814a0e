"""The command line. Heavy modules are imported where they are used, so that help, lists and refusals answer at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from crl.exit_codes import INTERRUPTED, REFUSED

if TYPE_CHECKING:
    from agents.plasticity.registry import Entry
    from agents.specs import AgentSpec
    from envs.catalogue import NamedStream

SHOWN_TASKS = 6  # of a stream; the tasks of a longer one are numbered

app = typer.Typer(
    help="Train reinforcement-learning agents that keep learning while the world changes.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class Kind(StrEnum):
    """What `crl list` lists."""

    streams = "streams"
    tasks = "tasks"
    shifts = "shifts"
    drifts = "drifts"
    agents = "agents"
    criteria = "criteria"
    selections = "selections"
    interventions = "interventions"
    parts = "parts"


@contextmanager
def _refusing() -> Iterator[None]:
    """Around a command: what is refused ends it with one sentence."""
    from crl.config import ConfigError

    try:
        yield
    except ConfigError as error:
        print(f"crl: {error}", file=sys.stderr)
        raise typer.Exit(REFUSED) from None


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="YAML file that describes the run.", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY.SUB=VALUE",
            help="Changes to the config, such as stream.steps_per_task=20000 interventions.0.rate=1e-3 seed=3.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train what a config describes, into a new folder below `runs`."""
    from crl.training import checked_config

    with _refusing():
        checked = checked_config(config, overrides or [])
        from crl import run

        code = run.train(checked, ["crl", "train", str(config), *(overrides or [])])
    raise typer.Exit(code)


@app.command()
def resume(run: Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)]) -> None:
    """Go on with a run that was killed, interrupted or failed, from its newest checkpoint."""
    from crl.opening import opened

    with _refusing(), opened(run) as config:
        from crl import run as runs

        code = runs.resume_opened(run, config, ["crl", "resume", str(run)])
    raise typer.Exit(code)


@app.command()
def audit(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)],
    task: Annotated[
        str | None, typer.Option(help="Task to play; left out, the one the run ended in.", show_default=False)
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(help="Transitions to measure on; left out, 1024 or a whole rollout.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of games, actions and sample; left out, the run's.", show_default=False)
    ] = None,
) -> None:
    """Measure what replacing each unit of a trained agent costs, and which criterion knows it."""
    from crl.audit import audit as audit_run

    with _refusing():
        code = audit_run(run, task, samples, seed)
    raise typer.Exit(code)


@app.command("list")
def list_names(
    kind: Annotated[Kind | None, typer.Argument(help="One of the lists; left out, all of them.")] = None,
    imports: Annotated[
        list[str] | None,
        typer.Option("--imports", metavar="MODULE", help="Also show what a module of yours registers; repeatable."),
    ] = None,
) -> None:
    """Show the names that a config can give: streams, tasks, shifts, drifts, agents, criteria, interventions, ..."""
    from crl.config.imports import import_modules, register_plugins

    with _refusing():
        register_plugins()
        import_modules(imports or [], key="--imports ")
    for each in Kind if kind is None else (kind,):
        print(f"{each}:")
        lines = _lines(each)
        width = max(map(len, lines), default=0)
        for name, text in lines.items():
            for line in text.splitlines():
                print(f"  {name:{width}}  {line}")
                name = ""


def _lines(kind: Kind) -> dict[str, str]:
    """Name -> what it is, of streams in several lines."""
    from agents import AGENTS
    from agents.plasticity.registry import CRITERIA, INTERVENTIONS, SELECTIONS
    from crl.config.parts import PARTS
    from envs.catalogue import DRIFTS, SHIFTS, STREAMS, TASKS

    if kind is Kind.streams:
        return {name: _described(stream) for name, stream in STREAMS.items()}
    if kind is Kind.tasks:
        given = {
            name: f"{world.description}; arguments: {', '.join(world.resolve().arguments)}; {_kept(world.restores)}"
            for name, world in TASKS.items()
        }
        return given | {
            "ID-v0": "a registered Gymnasium id, with its arguments; rebuilt, or restored where it has get_state"
        }
    if kind is Kind.shifts:
        return {name: f"{shift.description}; arguments: {', '.join(shift.arguments)}" for name, shift in SHIFTS.items()}
    if kind is Kind.drifts:
        return {name: f"{drift.description}; arguments: {', '.join(drift.arguments)}" for name, drift in DRIFTS.items()}
    registries: dict[Kind, Mapping[str, AgentSpec | Entry]] = {
        Kind.agents: AGENTS,
        Kind.criteria: CRITERIA,
        Kind.selections: SELECTIONS,
        Kind.interventions: INTERVENTIONS,
        Kind.parts: PARTS,
    }
    return {name: entry.summary for name, entry in registries[kind].items()}


def _kept(restores: bool) -> str:
    return "restored" if restores else "rebuilt"


def _described(stream: NamedStream) -> str:
    """Tasks, steps and source of a stream, and what becomes of its games at a checkpoint."""
    cycles = "" if stream.cycles == 1 else f", {stream.cycles} cycles"
    return (
        f"{stream.description}\n"
        f"tasks: {_shortened(stream.tasks)}; {stream.steps_per_task:,} steps each{cycles}; "
        f"games are {_kept(stream.restores)} at a resume\n"
        f"source: {stream.source}"
    )


def _shortened(tasks: Sequence[str]) -> str:
    return ", ".join(tasks) if len(tasks) <= SHOWN_TASKS else f"{len(tasks):,}, {tasks[0]} to {tasks[-1]}"


def _leave(_signal: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


def main() -> None:
    """Entry point of `crl`."""
    # Until a run's folder exists there is nothing to save. Not by an exception: minatar's imports catch all of them.
    signal.signal(signal.SIGINT, _leave)
    # OpenMP's threads spin while they wait, so that processes which share a machine starve each other. Read by torch's
    # OpenMP when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if isinstance(sys.stdout, TextIOWrapper):  # a pipe on Windows cannot take every name of a task or a folder
        sys.stdout.reconfigure(errors="backslashreplace")
    app()


if __name__ == "__main__":
    main()
