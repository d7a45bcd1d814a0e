"""Runs of the command line in processes that are there at once: forks of one that has imported everything."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

SUPPORT = Path(__file__).parent
ROOT = SUPPORT.parents[1]
PRELOAD = ["crl.cli", "crl.run", "agents.ppo", "agents.dqn", "agents.sac", "agents.td3"]
PRELOAD += ["envs.making", "envs.worlds", "envs.minatar.worlds", "envs.minatar.batch", "envs.control.cartpole"]
PRELOAD += ["filelock"]  # by claims
PRELOAD += ["envs.minatar.asterix", "envs.minatar.breakout", "numba.typed", "scipy.linalg"]  # by kernels
PRELOAD += ["frozen"]
PATIENCE = 60.0  # seconds that something may take on a busy machine

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOAD)


def _run(
    words: list[str], code: str, cwd: Path, name: str, paths: tuple[Path, ...], output: Callable[[], None] | None
) -> None:
    from crl import cli

    sys.path[:0] = map(str, paths)
    os.chdir(cwd)
    for number, kind in ((1, "out"), (2, "err")):
        with (cwd / f"{name}.{kind}").open("w") as file:
            os.dup2(file.fileno(), number)
    if output is not None:
        output()
    if code:
        exec(compile(code, name, "exec"), {})
    else:
        sys.argv = ["crl", *words]
        cli.main()


def closed() -> None:
    """What is printed has nowhere to go, as after ``>&-``."""
    os.close(1)
    sys.stdout = None  # type: ignore[assignment]  # as Python begins then


def unread() -> None:
    """What is printed goes into a pipe whose reader has gone, as before ``| true``."""
    reader, writer = os.pipe()
    os.close(reader)
    _print_to(writer)


def full() -> None:
    """What is printed goes onto a full disk."""
    _print_to(os.open("/dev/full", os.O_WRONLY))


def _print_to(file: int) -> None:
    os.dup2(file, 1)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 (the one before may believe in a file that can be sought)


class Process:
    """A running ``crl``.

    Args:
        words: of the command line.
        code: of Python, which runs in place of the command line.
        cwd: where it runs; what it prints goes to ``<name>.out`` and ``<name>.err`` there.
        name: see there.
        paths: what Python finds modules and plug-ins in, before all else.
        output: `closed`, `unread` or `full`, in place of the file that what it prints goes to.
    """

    def __init__(
        self,
        *words: str,
        code: str = "",
        cwd: Path,
        name: str = "crl",
        paths: tuple[Path, ...] = (),
        output: Callable[[], None] | None = None,
    ) -> None:
        self._cwd, self._name = cwd, name
        for kind in ("out", "err"):  # which may be read before it has opened them
            (cwd / f"{name}.{kind}").touch()
        with _importable():
            given = ([*words], code, cwd, name, paths, output)
            self._process: BaseProcess = _context.Process(target=_run, args=given)  # type: ignore[assignment]
            self._process.start()

    def ended(self) -> bool:
        return not self._process.is_alive()

    def wait(self) -> int:
        """Its exit code, the negative signal where one killed it."""
        self._process.join(PATIENCE)
        assert self._process.exitcode is not None, "it does not end"
        return self._process.exitcode

    def send(self, number: int) -> None:
        assert self._process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.wait()

    def until(self, happened: Callable[[], object]) -> None:
        """Wait until something has happened, or the process has ended."""
        deadline = time.monotonic() + PATIENCE
        while not happened() and not self.ended():
            assert time.monotonic() < deadline, "it does not happen"
            time.sleep(0.002)

    def printed(self) -> str:
        return (self._cwd / f"{self._name}.out").read_text()

    def errors(self) -> str:
        return (self._cwd / f"{self._name}.err").read_text()


def crl(*words: str, cwd: Path, name: str = "crl", paths: tuple[Path, ...] = ()) -> Process:
    """Run ``crl`` to its end."""
    process = Process(*words, cwd=cwd, name=name, paths=paths)
    process.wait()
    return process


@contextlib.contextmanager
def _importable() -> Iterator[None]:
    """The server imports what it preloads from the paths that the environment names."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, SUPPORT)))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
