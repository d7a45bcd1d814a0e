"""The process that gives a service the numbers of a run, which it reads from its standard input, each line as JSON.

The first line tells of the run, the last one how it has ended; a run that was killed has no such line. What goes wrong
is one warning, and tried again a minute later: what comes between is lost there.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock, Timeout

from crl.config.messages import one_line
from crl.mirroring.memory import FOLDER, Memory
from crl.mirroring.services import SERVICES, Service

PATIENCE = 60.0  # seconds that it has left once the run has ended
AGAIN = 60.0  # seconds between two attempts to reach the service
MOST = 4096  # rows that wait, of a few kilobytes each; PPO writes one after each rollout
OTHERS = 2 * PATIENCE  # seconds to wait for the sender of a process that was killed


def command(service: str, folder: Path) -> list[str]:
    """The command line of the process.

    Args:
        service: its name.
        folder: of the run.
    """
    # -P: modules of Python's own are not looked for in the current folder.
    return [sys.executable, "-P", "-m", "crl.mirroring.sender", service, str(folder)]


class Sender:
    """Sends lines to a service, and each number once.

    Args:
        service: its name.
        memory: of what was sent before.
        warn: prints a sentence.
    """

    def __init__(self, service: str, memory: Memory, warn: Callable[[str], None]) -> None:
        self._name, self._memory, self._warn = service, memory, warn
        self._service: Service | None = None
        self._failed = -AGAIN  # when it did last
        self._warned = False

    def send(self, lines: Iterable[bytes]) -> bool:
        """Send all of them but the last one.

        Args:
            lines: of which the first one tells of the run.

        Returns:
            Whether the run has come to its end.
        """
        found = _parsed(lines)
        about = next(found, None)
        for line in found:
            if "end" in line:
                return bool(line["end"])
            if time.monotonic() - self._failed >= AGAIN:
                with self._failing():
                    self._give(about, line["step"], line["values"])
        return False

    def _give(self, about: Any, step: int, values: dict[str, float]) -> None:
        if new := self._memory.new(step, values):
            self._service = self._service or SERVICES[self._name](self._memory, **about)
            self._service.log(new, step)
            self._memory.sent(step, new)

    def close(self, finished: bool) -> None:
        """Have the service send what it still holds."""
        if self._service is not None:
            with self._failing():
                self._service.close(finished)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._failed = time.monotonic()
            if not self._warned:
                self._warned = True
                # Addresses may hold a name and a password, and what a worker of an ablation prints is kept.
                said = re.sub(r"//[^\s/@]+@", "//", f"{type(error).__name__}: {one_line(error)}")
                self._warn(
                    f"{self._name} does not take the run's numbers ({said}); the run goes on, and it is tried again"
                )


def _parsed(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Each line; the last one is not whole where the run was killed."""
    with suppress(ValueError):
        for line in lines:
            yield json.loads(line)


def main(service: str, folder: Path) -> None:
    """Send what stands on the standard input.

    Args:
        service: its name.
        folder: of the run.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which a machine may send to all; this one ends with its input
    told = _silenced()

    def warn(sentence: str) -> None:
        with suppress(OSError, ValueError):
            print(f"crl: warning: {sentence}", file=told, flush=True)

    def lost() -> None:
        warn(f"{service} is too slow for the run: rows are lost there; TensorBoard has all of it")

    def hurry() -> None:
        timer = threading.Timer(PATIENCE, os._exit, [1])  # a service may wait for its network for days
        timer.daemon = True
        timer.start()

    lines: queue.Queue[bytes | None] = queue.Queue(MOST)
    threading.Thread(target=_read, args=(sys.stdin.buffer, lines, lost, hurry), daemon=True).start()
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    lock = FileLock(place / f"{service}.lock")
    with suppress(Timeout):  # one that is held longer is held by a process that hangs
        lock.acquire(timeout=OTHERS)
    sender = Sender(service, Memory(folder, service), warn)
    sender.close(sender.send(iter(lines.get, None)))
    lock.release()
    os._exit(0)  # what packages would still do at the end of Python may wait for the network


def _read(
    pipe: Iterable[bytes], lines: queue.Queue[bytes | None], lost: Callable[[], None], ended: Callable[[], None]
) -> None:
    """Take all that comes, in a thread: while a service hangs, the end of the run is not to be missed.

    Args:
        pipe: from the run.
        lines: get what comes, as long as there is room, and None at the end.
        lost: called once, where there is none.
        ended: called when the run has ended.
    """
    told, end = False, b""
    for line in pipe:
        if line.startswith(b'{"end"'):
            end = line
            break
        try:
            lines.put_nowait(line)
        except queue.Full:
            if not told:
                told = True
                lost()
    ended()
    lines.put(end)
    lines.put(None)


def _silenced() -> TextIO:
    """Where warnings are printed, after all that packages print has been sent to nowhere."""
    try:
        told = os.fdopen(os.dup(2), "w", errors="backslashreplace")
    except OSError:  # it was closed
        told = Path(os.devnull).open("w")  # noqa: SIM115 (till the process ends)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    return told


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
