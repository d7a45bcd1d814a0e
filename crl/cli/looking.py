"""The commands that look at runs: `crl audit`, `diagnose`, `evaluate`, `plot`, `compare`, `report` and `watch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crl.cli.options import Modules, refusing


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
    modules: Modules = None,
) -> None:
    """Measure what replacing each unit of a trained agent costs, and which criterion knows it."""
    from crl.audit import audit as audit_run
    from crl.config.imports import found_in

    with refusing(), found_in(modules or []):
        code = audit_run(run, task, samples, seed)
    raise typer.Exit(code)


def diagnose(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)],
    checkpoint: Annotated[
        int | None,
        typer.Option(
            metavar="STEP",
            min=0,
            help="A step that is kept, of a checkpoint or the end of a visit; left out, the newest checkpoint.",
            show_default=False,
        ),
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Another run, to be shown beside it.", show_default=False)
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Gradient steps for which copies are trained; left out, 100.", show_default=False),
    ] = None,
    go_on: Annotated[
        int | None,
        typer.Option(
            "--continue",
            metavar="STEPS",
            min=1,
            help="Steps of the games for which an ill agent goes on with the best remedies; left out, it does not.",
            show_default=False,
        ),
    ] = None,
    modules: Modules = None,
) -> None:
    """Tell what keeps the networks of a run from learning, if anything does."""
    from crl.config.imports import found_in
    from crl.diagnosis import diagnose as diagnose_run

    with refusing(), found_in(modules or []):
        code = diagnose_run(run, checkpoint, compare, steps, go_on or 0)
    raise typer.Exit(code)


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)],
    task: Annotated[
        str | None,
        typer.Option(
            help="Task to play, or one with variants; left out, all that the run evaluates.", show_default=False
        ),
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(help="Episodes of each task; left out, as many as the run's.", show_default=False)
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="STEP|best|all",
            help="What plays: a step that is kept, the best parameters for each task, or all steps; left out, the "
            "newest.",
            show_default=False,
        ),
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for films, one of each task; left out, none.", show_default=False),
    ] = None,
    modules: Modules = None,
) -> None:
    """Play every task of a run with what it has learnt, and write how well it does."""
    from crl.config.imports import found_in
    from crl.evaluation import evaluate as evaluate_run

    with refusing(), found_in(modules or []):
        code = evaluate_run(run, task, episodes, checkpoint, video)
    raise typer.Exit(code)


def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write, .png or .svg; left out, returns.png in the first run's folder.", show_default=False
        ),
    ] = None,
) -> None:
    """Draw the returns of one run or several over steps, with the visits of each task and the resets."""
    from crl.plot import plot as plot_runs

    with refusing():
        path = plot_runs(runs, out)
    print(f"figure: {path}")


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or of ablations.", show_default=False)
    ],
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="File for all numbers.", show_default=False)] = None,
) -> None:
    """Compare runs of one stream, those that differ in their seeds alone together, with intervals and tests."""
    from crl.compare import compare as compare_runs

    with refusing():
        compare_runs(runs, csv)


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or of ablations.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder to write; left out, reports/ and the first folder's name.", show_default=False
        ),
    ] = None,
) -> None:
    """Write a page about runs of one stream: curves, evaluations, measures with intervals, configs, what was spent."""
    from crl.report import report as report_runs

    with refusing():
        path = report_runs(runs, out)
    print(f"report: {path}")


def watch(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or of ablations.", show_default=False)
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of this machine; 0 for any that is free.")] = 6007,
) -> None:
    """Serve the page of `crl report` to browsers on this machine, newer as runs go on."""
    from crl.report import watch as watch_runs

    with refusing():
        code = watch_runs(runs, port)
    raise typer.Exit(code)
