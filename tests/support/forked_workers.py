"""Workers of `crl ablate` that are there at once: forks of the process that starts them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crl.ablation import launching, worker

ABLATE = "import forked_workers\nforked_workers.ablate({words!r})"
"""Code of a process that is `crl ablate` with such workers."""


class Forked:
    """A fork that trains a run."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGTERM)


class Forking(launching.Launcher):
    """Takes the place of `launching.Local`."""

    def __init__(self, folder: Path, command: Callable[[str], Sequence[str]], _environment: Any) -> None:
        self._folder, self._command = folder, command

    def start(self, name: str) -> Forked:
        path = launching.output_of(self._folder, name)
        path.parent.mkdir(exist_ok=True)
        if pid := os.fork():
            return Forked(pid)
        code = 1
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            with path.open("a") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            code = worker.main(self._command(name)[4:])  # behind python -P -m and the module
        finally:
            os._exit(code)


def ablate(words: Sequence[str]) -> None:
    """`crl ablate` with such workers."""
    import sys

    from crl import cli

    launching.Local = Forking  # type: ignore[assignment,misc]
    sys.argv = ["crl", "ablate", *words]
    cli.main()
