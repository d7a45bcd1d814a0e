"""What starts workers: a launcher, which holds no state, since all that there is to know lies in the runs' folders."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

OUTPUTS = ".workers"  # in the folder of an ablation: what the workers of each run have printed
LAST = 4096  # bytes of that which are looked at


class Worker(Protocol):
    """A worker that was started."""

    def poll(self) -> int | None:
        """Its exit code, negative or of the system's own where it was killed; None while it goes on."""

    def stop(self) -> None:
        """Ask it to save and end; the second time, to end at once."""


class Launcher(Protocol):
    """Starts workers."""

    def start(self, name: str) -> Worker:
        """Start one for the run of that name."""


class LocalWorker:
    """A process of this machine."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def poll(self) -> int | None:
        """See `Worker`."""
        return self.process.poll()

    def stop(self) -> None:
        """See `Worker`; where Windows ends it at once, it goes on from its newest checkpoint."""
        self.process.terminate()


class Local:
    """Starts workers as processes of this machine, each out of reach of the terminal's Ctrl-C.

    Args:
        folder: of the ablation.
        command: the command line for a run.
        environment: of the processes.
    """

    def __init__(self, folder: Path, command: Callable[[str], Sequence[str]], environment: dict[str, str]) -> None:
        self._outputs, self._command, self._environment = folder / OUTPUTS, command, environment

    def start(self, name: str) -> LocalWorker:
        """See `Launcher`."""
        self._outputs.mkdir(exist_ok=True)
        with output_of(self._outputs.parent, name).open("ab") as file:
            process = subprocess.Popen(
                self._command(name),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                process_group=None if os.name == "nt" else 0,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        return LocalWorker(process)


def output_of(folder: Path, name: str) -> Path:
    """The file with what the workers of a run have printed."""
    return folder / OUTPUTS / f"{name}.txt"


def last_words(folder: Path, name: str) -> str:
    """The last line that a worker of a run has printed, empty where there is none."""
    try:
        with output_of(folder, name).open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - LAST, 0))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def describe_death(code: int) -> str:
    """How a worker has ended that gave no exit code of crl's."""
    try:
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    except ValueError:
        return f"killed by signal {-code}"
