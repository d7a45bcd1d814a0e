"""What a run gives its numbers to: the beginning of the way to a service."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.logger import KVWriter, filter_excluded_keys

from crl.config import RunConfig
from crl.mirroring import sender
from crl.screen import warn

MOST = sender.MOST  # rows that wait where the sender does not even take them, as while it begins
PATIENCE = sender.PATIENCE + 5.0  # seconds that the end of a run waits for the sender, which ends itself before
HURRY = 3.0  # seconds where the run was interrupted: the machine may be gone soon


class Mirror(KVWriter):
    """Gives a service what TensorBoard gets, as long as that is a number; never waits for it but at the end.

    Args:
        service: its name.
        folder: of the run.
        config: of the run, which the service is told.
    """

    def __init__(self, service: str, folder: Path, config: RunConfig) -> None:
        self.finished = False
        """Whether the run has come to its end, rather than being interrupted or failing."""
        self._service = service
        self._lost = False
        self._lines: queue.Queue[Any] = queue.Queue(MOST)
        # Out of reach of the terminal's Ctrl-C, and of what the process prints that others may read.
        self._process = subprocess.Popen(
            sender.command(service, folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self._thread = threading.Thread(target=self._pass_on, name=f"mirror {service}", daemon=True)
        self._thread.start()
        self._put(
            {"name": folder.name, "group": folder.absolute().parent.name, "config": config.model_dump(mode="json")}
        )

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Pass a row on; see `KVWriter`."""
        row = filter_excluded_keys(key_values, key_excluded, "tensorboard")
        numbers = {tag: float(value) for tag, value in row.items() if _is_number(value)}
        self._put({"step": int(step), "values": numbers})

    def draw(self, tag: str, value: float, step: int) -> None:
        """Pass a single number on, whose step may be another one than the row's."""
        self._put({"step": int(step), "values": {tag: float(value)}})

    def close(self) -> None:
        """Have all of it sent, and wait for that where the run has come to its end."""
        patience = PATIENCE if self.finished else HURRY
        until = time.monotonic() + patience
        with suppress(queue.Full):
            for line in ({"end": self.finished}, None):
                self._lines.put(line, timeout=max(until - time.monotonic(), 0))
        self._thread.join(max(until - time.monotonic(), 0))
        with suppress(subprocess.TimeoutExpired):
            if self._process.wait(max(until - time.monotonic(), 0)) == 0:
                return
        if self.finished and not self._lost:
            warn(f"{self._service} has not taken all of the run; TensorBoard has it")

    def _put(self, line: dict[str, Any]) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._lose("is too slow for the run: rows are lost there")

    def _lose(self, how: str) -> None:
        if not self._lost:
            self._lost = True
            warn(f"{self._service} {how}; the run goes on, and TensorBoard has all of it")

    def _pass_on(self) -> None:
        """In a thread, which may wait for the sender."""
        assert self._process.stdin is not None
        try:
            with self._process.stdin as pipe:
                while (line := self._lines.get()) is not None:
                    pipe.write(json.dumps(line).encode() + b"\n")
                    pipe.flush()
        except OSError:
            self._lose("gets no more of the run, since the process that sends it has ended")
            while self._lines.get() is not None:
                pass


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating | np.bool_)
