"""A side's process, as it is seen by who asks it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Self

from benchmarks.harness.declared import ROOT, Missing, Side
from benchmarks.harness.load import busy_seconds

PATIENCE = 10.0  # seconds in which a process may end by itself
TAIL = 2000  # bytes that are shown of what a failed side has printed


class SideError(Exception):
    """A side has failed: a sentence, and the end of what it has printed."""


class Took(NamedTuple):
    """What a repetition took.

    Attributes:
        work: units of it.
        seconds: by the clock.
        processor: seconds of processor time.
        megabytes: that count.
        peak: the most MB that the process, or one that it has started, has held.
        learnt: what must be the same on all sides.
        notes: what else the side tells.
        used: processor seconds of all of the repetition.
        others: processor seconds that all other processes took meanwhile; by the clock's ticks, so that of a short
            repetition it can be below zero.
        waited: seconds of all of the repetition by the clock.
    """

    work: float
    seconds: float
    processor: float
    megabytes: float
    peak: float
    learnt: str
    notes: Mapping[str, float]
    used: float
    others: float
    waited: float


class SideProcess:
    """Prepares the work of a side, and repeats it when it is asked to. A context: the process ends with it.

    Args:
        side: whose work it is.
        settings: of the work.
        threads: of OpenMP, which wait without spinning (`OMP_WAIT_POLICY=PASSIVE`).
        python: of the environment it runs in.

    Raises:
        Missing: it cannot be measured here.
        SideError: it has failed.
    """

    def __init__(self, side: Side, settings: Mapping[str, Any], threads: int, python: str) -> None:
        self._name = f"{side.make.__module__}:{side.make.__qualname__}"
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        threaded = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
        try:
            self._process = subprocess.Popen(
                [python, "-m", "benchmarks.harness.child"],
                cwd=ROOT, env={**os.environ, **threaded},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._printed, text=True, encoding="utf-8",
            )  # fmt: skip
        except OSError as error:
            self._printed.close()
            raise Missing(f"{python!r} cannot be run ({error.strerror}); give --peers a python") from None
        try:
            asked = {"make": self._name, "settings": {**settings, **side.settings}, "needs": side.needs}
            answer = self._ask(json.dumps(asked))
            if "missing" in answer:
                raise Missing(answer["missing"])
            self.versions: dict[str, str] = answer["versions"]
        except BaseException:
            self.close()
            raise

    def repeat(self) -> Took:
        """Do the work once more.

        Raises:
            SideError: it has failed.
        """
        before, start = busy_seconds()
        answer = self._ask("")
        after, end = busy_seconds()
        return Took(**answer, others=after - before - answer["used"], waited=end - start)

    def close(self) -> None:
        """End the process, by itself where it can: it may have files to remove."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._printed.close()

    def _ask(self, line: str) -> dict[str, Any]:
        pipe = self._process.stdin
        assert pipe is not None
        assert self._process.stdout is not None
        with suppress(OSError):  # where it has ended, it says why below
            pipe.write(f"{line}\n")
            pipe.flush()
        answer = self._process.stdout.readline()
        if not answer:
            code = self._process.wait()
            self._printed.seek(max(0, self._printed.seek(0, os.SEEK_END) - TAIL))
            text = self._printed.read().decode(errors="replace")
            raise SideError(f"{self._name} has failed (exit code {code}):\n{text}")
        found: dict[str, Any] = json.loads(answer)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
