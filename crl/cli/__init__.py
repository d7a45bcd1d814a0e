"""The command line. Heavy modules are imported where they are used, so that help, lists and refusals answer at once."""

from __future__ import annotations

import os
import platform
import signal
import sys
from io import TextIOWrapper
from types import FrameType
from typing import Annotated

import typer

from crl.cli import looking, naming, training
from crl.exit_codes import DONE, FAILED, INTERRUPTED, REFUSED
from crl.screen import complain, is_lost

app = typer.Typer(
    help="Train reinforcement-learning agents that keep learning while the world changes.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    training.train, training.resume, looking.audit, looking.diagnose, looking.evaluate, looking.plot, training.ablate,
    looking.compare, looking.report, looking.watch,
):  # fmt: skip
    app.command()(command)
app.command("list")(naming.list_names)
app.command("config")(naming.show_config)


def _show_versions(wanted: bool) -> None:
    if wanted:
        from crl.versions import crl_version, installed

        print(f"crl {crl_version()}")
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
        code = app(words, standalone_mode=False) or DONE
        if sys.stdout is not None:
            sys.stdout.flush()
    except typer.Abort:
        code = INTERRUPTED
    except OSError as error:
        if not is_lost():
            raise
        if not isinstance(error, BrokenPipeError):  # whoever read has seen enough
            complain(f"standard output cannot be written ({error.strerror}); make room for it, or send it elsewhere")
        code = FAILED
    except Exception as error:
        from crl.usage import UsageError, sentence

        if not isinstance(error, UsageError):
            raise
        complain(sentence(error, words))
        code = REFUSED
    sys.exit(code)
