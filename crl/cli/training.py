"""The commands that train: `crl train`, `resume` and `ablate`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer
import yaml

from crl.cli.options import Modules, as_options, refusing
from crl.collector import loading


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
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN|ZIP",
            help="Begin with what a run, one of its checkpoints or an agent in SB3's zip has learnt, also in a world "
            "of other observations or actions; the config's key from.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train what a config describes, into a new folder below `runs`."""
    from crl.config.imports import beside
    from crl.training import checked_config

    changes = overrides or []
    begins = [] if source is None else [f"from={_quoted(source)}"]
    with refusing(), beside(config):
        checked = checked_config(config, [*changes, *begins])
        with loading():
            from crl import run

        typed = [] if source is None else ["--from", source]
        code = run.train(checked, ["crl", "train", str(config), *changes, *typed])
    raise typer.Exit(code)


def _quoted(text: str) -> str:
    """Any text as a value of an override, whatever letters it has."""
    return yaml.safe_dump(text, default_style='"', width=math.inf).strip()


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)],
    modules: Modules = None,
) -> None:
    """Go on with a run that was killed, interrupted or failed, from its newest checkpoint."""
    from crl.config.imports import found_in
    from crl.opening import opened

    with refusing(), found_in(modules or []), opened(run) as config:
        with loading():
            from crl import run as runs

        code = runs.resume_opened(run, config, ["crl", "resume", str(run), *as_options(modules)])
    raise typer.Exit(code)


def ablate(
    file: Annotated[Path, typer.Argument(help="YAML file that describes the ablation.", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LAUNCHER.KEY=VALUE",
            help="Settings of the launcher, such as ray.num_gpus=0.25 or slurm.partition=gpu slurm.time=240.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Runs at once; left out, one on each core, as far as memory allows, or all that a cluster takes.",
            show_default=False,
        ),
    ] = None,
    launcher: Annotated[
        str,
        typer.Option(help="Where runs are trained: local (here), ray or slurm (a cluster with shared storage)."),
    ] = "local",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the runs and about how long they will take, and begin none.")
    ] = False,
) -> None:
    """Train all runs of a grid that are not finished, several at once; type it again to go on with it."""
    with refusing():
        from crl.ablation.grid import read
        from crl.ablation.settings import check_launcher

        check_launcher(launcher, overrides or [])
        grid = read(file, overrides or [])
        with loading():
            from crl.ablation import running

        code = running.ablate(grid, workers, launcher, overrides or [], dry_run=dry_run)
    raise typer.Exit(code)
