"""What starts workers: a launcher, which holds no state, since all that there is to know lies in the runs' folders."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import ClassVar, Protocol, Self

OUTPUTS = ".workers"  # in the folder of an ablation: what the workers of each run have printed
LAST = 4096  # bytes of that which are looked at
ASK = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM)  # SIGTERM ends processes of Windows at once
RUN_FAILED = 70
"""Exit code of a worker that says that its run has failed; as sysexits.h says of what software does wrong.

Not 1, which is the code of a process, too, that Windows' Task Manager has ended.
"""
LOST = 74  # exit code of a worker of whose end nothing is known; as sysexits.h says of input and output


class Worker(Protocol):
    """A worker that was started."""

    def poll(self) -> int | None:
        """Its exit code, negative or of the system's own where it was killed; None while it goes on.

        Raises:
            ConfigError: no worker can be started there.
        """

    def stop(self) -> None:
        """Ask it to save and end; the second time, to end at once."""


class Launcher:
    """Starts workers; whoever uses it enters it before.

    Attributes:
        queues: what is started waits for its turn elsewhere, and goes on once its claim is seen.
        on_interrupt: what Ctrl-C does.
        stopping: what is going on then.
    """

    queues: ClassVar[bool] = False
    on_interrupt: ClassVar[str] = "Ctrl-C saves them and stops"
    stopping: ClassVar[str] = (
        "stopping: every run finishes its rollout and update, then saves; Ctrl-C again ends them at once"
    )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, name: str) -> Worker:
        """Start one for the run of that name.

        Raises:
            OSError: that is not possible.
        """
        raise NotImplementedError

    def together(self) -> AbstractContextManager[None]:
        """Around the starts of several, none of which is looked after before it ends."""
        return nullcontext()


class LocalWorker:
    """A process of this machine."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process, self._asked = process, False

    def poll(self) -> int | None:
        """See `Worker`."""
        return self.process.poll()

    def stop(self) -> None:
        """See `Worker`; one that is ended at once goes on from its newest checkpoint."""
        if self._asked:
            self.process.kill()  # it may be in code that no signal reaches
            return
        self._asked = True
        try:
            self.process.send_signal(ASK)
        except (OSError, SystemError):  # both of Windows, where there is no console that could pass it on
            self.process.kill()


class Local(Launcher):
    """Starts workers as processes of this machine.

    Args:
        folder: of the ablation.
        command: the command line for a run.
        environment: of the processes.
    """

    def __init__(self, folder: Path, command: Callable[[str], Sequence[str]], environment: dict[str, str]) -> None:
        self._folder, self._command, self._environment = folder, command, environment

    def start(self, name: str) -> LocalWorker:
        """See `Launcher`."""
        return LocalWorker(begun(self._command(name), output_of(self._folder, name), self._environment))


def begun(
    command: Sequence[str], output: Path, environment: Mapping[str, str], place: Path | None = None
) -> subprocess.Popen[bytes]:
    """A process of this machine, out of reach of the terminal's Ctrl-C.

    Args:
        command: its command line.
        output: what it prints is put behind what is there.
        environment: of it.
        place: where it runs; None for the current folder.

    Raises:
        OSError: it cannot be started.
    """
    output.parent.mkdir(exist_ok=True)
    with output.open("ab") as file:
        return subprocess.Popen(
            command,
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            process_group=None if os.name == "nt" else 0,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )


def output_of(folder: Path, name: str) -> Path:
    """The file with what the workers of a run have printed."""
    return folder / OUTPUTS / f"{name}.txt"


def ends_in(path: Path) -> dict[str, int]:
    """Name -> exit code of the runs that have ended, of a worker that trains several; empty where it tells nothing."""
    try:
        lines = [
            json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1:] == "\n"
        ]
        return {str(name): int(code) for name, code in lines}
    except (OSError, TypeError, ValueError):
        return {}


def note_end(path: Path, name: str, code: int) -> None:
    """Write down for `ends_in` how a run has ended."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps([name, code])}\n")


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
    if code == LOST:
        return "with its node or its job, it seems"
    try:
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    except ValueError:
        return f"killed by signal {-code}"
