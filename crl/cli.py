"""The command line. Heavy modules are imported where they are used, so that help, lists and refusals answer at once."""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from crl.exit_codes import INTERRUPTED, REFUSED

app = typer.Typer(
    help="Train reinforcement-learning agents that keep learning while the world changes.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


Modules = Annotated[
    list[Path] | None,
    typer.Option(
        "--modules",
        metavar="FOLDER",
        help="Folder of yours in which modules lie that the run names, beside the current one; repeatable.",
        show_default=False,
    ),
]


def _as_options(modules: Sequence[Path] | None) -> list[str]:
    return [word for folder in modules or () for word in ("--modules", str(folder))]


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
    from crl.config.imports import beside
    from crl.training import checked_config

    with _refusing(), beside(config):
        checked = checked_config(config, overrides or [])
        from crl import run

        code = run.train(checked, ["crl", "train", str(config), *(overrides or [])])
    raise typer.Exit(code)


@app.command()
def resume(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)],
    modules: Modules = None,
) -> None:
    """Go on with a run that was killed, interrupted or failed, from its newest checkpoint."""
    from crl.config.imports import found_in
    from crl.opening import opened

    with _refusing(), found_in(modules or []), opened(run) as config:
        from crl import run as runs

        code = runs.resume_opened(run, config, ["crl", "resume", str(run), *_as_options(modules)])
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
    modules: Modules = None,
) -> None:
    """Measure what replacing each unit of a trained agent costs, and which criterion knows it."""
    from crl.audit import audit as audit_run
    from crl.config.imports import found_in

    with _refusing(), found_in(modules or []):
        code = audit_run(run, task, samples, seed)
    raise typer.Exit(code)


@app.command()
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
    modules: Modules = None,
) -> None:
    """Tell what keeps the networks of a run from learning, if anything does."""
    from crl.config.imports import found_in
    from crl.diagnosis import diagnose as diagnose_run

    with _refusing(), found_in(modules or []):
        code = diagnose_run(run, checkpoint, compare)
    raise typer.Exit(code)


@app.command()
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

    with _refusing(), found_in(modules or []):
        code = evaluate_run(run, task, episodes, checkpoint, video)
    raise typer.Exit(code)


@app.command()
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

    with _refusing():
        path = plot_runs(runs, out)
    print(f"figure: {path}")


@app.command()
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
    with _refusing():
        from crl.ablation.grid import read
        from crl.ablation.settings import check_launcher

        check_launcher(launcher, overrides or [])
        grid = read(file, overrides or [])
        from crl.ablation import running

        code = running.ablate(grid, workers, launcher, overrides or [], dry_run=dry_run)
    raise typer.Exit(code)


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or of ablations.", show_default=False)
    ],
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="File for all numbers.", show_default=False)] = None,
) -> None:
    """Compare runs of one stream, those that differ in their seeds alone together, with intervals and tests."""
    from crl.compare import compare as compare_runs

    with _refusing():
        compare_runs(runs, csv)


@app.command()
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

    with _refusing():
        path = report_runs(runs, out)
    print(f"report: {path}")


@app.command()
def watch(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or of ablations.", show_default=False)
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of this machine; 0 for any that is free.")] = 6007,
) -> None:
    """Serve the page of `crl report` to browsers on this machine, newer as runs go on."""
    from crl.report import watch as watch_runs

    with _refusing():
        code = watch_runs(runs, port)
    raise typer.Exit(code)


@app.command("list")
def list_names(
    name: Annotated[
        str | None,
        typer.Argument(
            help="One of the lists (streams, tasks, shifts, drifts, agents, optimizers, schedules, criteria, "
            "selections, interventions, parts), or a name in one of them, such as gxd; left out, all lists.",
            show_default=False,
        ),
    ] = None,
    imports: Annotated[
        list[str] | None,
        typer.Option("--imports", metavar="MODULE", help="Also show what a module of yours registers; repeatable."),
    ] = None,
) -> None:
    """Show the names that a config can give; of one name all arguments, its paper and an example."""
    from crl.config.imports import register_plugins
    from crl.listing import Kind, listed, pages, registered_by

    with _refusing():
        register_plugins()
        worlds = registered_by(imports or [])
        if name is not None and name not in [*Kind]:
            print("\n".join(line for page in pages(name) for line in page.lines).rstrip())
            return
    for kind in Kind if name is None else (Kind(name),):
        print(f"{kind}:")
        lines = listed(kind) | (worlds if kind is Kind.tasks else {})
        width = max(map(len, lines), default=0)
        for each, text in lines.items():
            for line in text.splitlines():
                print(f"  {each:{width}}  {line}")
                each = ""


@app.command("config")
def show_config(
    config: Annotated[Path | None, typer.Argument(help="YAML file of a run.", show_default=False)] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY.SUB=VALUE", help="Changes to it, as for train.", show_default=False),
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of configs, for editors.")] = False,
    all_keys: Annotated[
        bool, typer.Option("--all-keys", help="Print every key with its type, default and meaning.")
    ] = False,
) -> None:
    """Show a config with all defaults filled in, or what a config may say."""
    from crl.config import ConfigError, check_arguments, load, to_yaml
    from crl.config.imports import beside, register_plugins

    with _refusing():
        if (config is not None) + schema + all_keys != 1:
            raise ConfigError("crl config shows one thing; give a config, or --schema, or --all-keys")
        if config is not None:
            with beside(config):
                print(to_yaml(check_arguments(load(config, overrides or []))), end="")
            return
        from crl.config.keys import json_schema, keys_of

        register_plugins()
        found = json_schema()
    if schema:
        print(json.dumps(found, indent=2))
        return
    names = {key: f"{key.name}{f' [{chr(44).join(key.of)}]' if key.of else ''}" for key in keys_of(found)}
    for key, name in names.items():
        print(f"{name}  {key.line}")


def _show_versions(wanted: bool) -> None:
    if wanted:
        from crl.versions import installed

        print(f"crl {installed('crl')}")
        print(f"python {platform.python_version()}")
        for package in ("torch", "stable-baselines3"):
            print(f"{package} {installed(package)}")
        raise typer.Exit


@app.callback()
def _crl(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the versions of crl and of what it builds on.", callback=_show_versions),
    ] = False,
) -> None:
    pass


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
    words = sys.argv[1:] or ["--help"]
    try:
        sys.exit(app(words, standalone_mode=False) or 0)
    except typer.Abort:
        sys.exit(INTERRUPTED)
    except Exception as error:
        from crl.usage import UsageError, sentence

        if not isinstance(error, UsageError):
            raise
        print(f"crl: {sentence(error, words)}", file=sys.stderr)
        sys.exit(REFUSED)


if __name__ == "__main__":
    main()
