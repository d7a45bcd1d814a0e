"""Workers on other machines: what is started there, once it is certain that they see the same storage as this one."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from crl.ablation import launching, worker
from crl.config.messages import printable

PATIENCE = 60.0  # seconds in which a file that is new is seen on all machines that share the storage
LOOK = 1.0  # seconds between two looks for it


class Answer(NamedTuple):
    """What comes back.

    Attributes:
        code: exit code of the worker.
        refusal: why none was started, a sentence; else empty.
    """

    code: int
    refusal: str = ""


class Errand(NamedTuple):
    """What another machine is sent.

    Attributes:
        command: of a worker.
        output: file for what it prints.
        place: its current folder, which is this process's.
        token: file that this machine has written.
        machine: what that is called.
        patience: seconds to wait for the token.
    """

    command: Sequence[str]
    output: Path
    place: Path
    token: Path
    machine: str
    patience: float

    def refusal(self) -> str:
        """Why no worker can be started where this is called, empty where one can."""
        deadline = time.monotonic() + self.patience
        while not (self.token.is_file() and self.place.is_dir()):
            if time.monotonic() >= deadline:
                missing = self.place if self.token.is_file() else self.token.parent.parent
                return (
                    f"{platform.node()} does not see {str(missing)!r} as {self.machine} does; begin in a folder, and "
                    "give one for the runs, on storage that all machines share"
                )
            time.sleep(LOOK)
        return ""

    def begin(self) -> subprocess.Popen[bytes]:
        """Start the worker where this is called, with the Python that is there and in its environment.

        Raises:
            OSError: that is not possible.
        """
        return launching.begun([sys.executable, *self.command[1:]], self.output, worker.environment(), self.place)


class Errands:
    """What the runs of an ablation send to other machines.

    Args:
        folder: of the ablation.
        command: the command line for a run.
    """

    def __init__(self, folder: Path, command: Callable[[str], Sequence[str]]) -> None:
        self._folder, self._command = folder.absolute(), command
        # New for each start: an old one may be on storage that was copied.
        self._token = self._folder / launching.OUTPUTS / f".token-{uuid.uuid4().hex}"

    def begin(self) -> None:
        """Write the token.

        Raises:
            OSError: that is not possible.
        """
        self._token.parent.mkdir(exist_ok=True)
        self._token.touch(exist_ok=False)

    def end(self) -> None:
        """Remove it: nobody is on an errand any more."""
        self._token.unlink(missing_ok=True)

    def of(self, name: str) -> Errand:
        """The one for a run."""
        output = launching.output_of(self._folder, name)
        return Errand([*self._command(name)], output, Path.cwd(), self._token, platform.node(), PATIENCE)

    def note(self, name: str, words: str) -> None:
        """Put a line behind what the workers of a run have printed: what is known of the end of one."""
        with launching.output_of(self._folder, name).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{printable(words)}\n")
