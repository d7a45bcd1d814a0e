"""A worker that trains nothing: it counts to `STEPS` with a checkpoint for each, and holds its run as crl does."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

from processes import Process

from crl import claims
from crl.ablation.launching import Launcher
from crl.claims import ClaimLostError, Sight
from crl.exit_codes import DONE

STEPS = 8
STEP = 0.01  # seconds
BUSY = 75
NUMBERS = itertools.count()  # of workers
HASTE = {"BEAT": 0.05, "LEASE": 1.5, "WATCH": 0.5}
"""Of `crl.claims`, in which a test does not take minutes."""


def work(path: Path) -> int:
    """Bring a run to its end, from where it is; the exit code."""
    for name, seconds in HASTE.items():
        setattr(claims, name, seconds)
    path.mkdir(exist_ok=True)
    claim = claims.take(path)
    if claim is None:
        return BUSY
    job = Job(path)
    if job.is_finished():
        return DONE
    step = job.reached()
    value = int((path / "checkpoints" / str(step)).read_text()) if step else 1
    try:
        while step < STEPS:
            step += 1
            value = (31 * value + step) % 1_000_003
            time.sleep(STEP)
            claim.check()
            with (path / "written.txt").open("a") as file:  # by whom
                file.write(f"{claim.number}\n")
            unfinished = path / f"{claim.number}.tmp"
            unfinished.write_text(str(value))
            (path / "checkpoints").mkdir(exist_ok=True)
            claim.check()
            unfinished.replace(path / "checkpoints" / str(step))
        claim.check()
        unfinished = path / f"{claim.number}.tmp"
        unfinished.write_text(json.dumps({"status": "done", "value": value}))
        (path / "results.json").hardlink_to(unfinished)  # whole or not at all, and a second time raises
        unfinished.unlink()
    except ClaimLostError:
        return BUSY
    claim.release()
    return DONE


class Job:
    """Such a run, as `crl.ablation.loop` sees it."""

    steps = STEPS

    def __init__(self, path: Path) -> None:
        self.path = path

    def is_finished(self) -> bool:
        try:
            return bool(json.loads((self.path / "results.json").read_text())["status"] == "done")
        except (FileNotFoundError, json.JSONDecodeError):
            return False

    def reached(self) -> int:
        return max((int(path.name) for path in (self.path / "checkpoints").glob("*")), default=0)

    def look(self) -> Sight:
        return claims.look(self.path)


class Forked:
    """A worker of the stub in a process of its own, which is there at once."""

    def __init__(self, folder: Path, name: str, number: int) -> None:
        code = f"import os, pathlib, stub_worker\nos._exit(stub_worker.work(pathlib.Path({name!r})))"
        self.process = Process(code=code, cwd=folder, name=f"{name} worker {number}", paths=(Path(__file__).parent,))

    def poll(self) -> int | None:
        return self.process.wait() if self.process.ended() else None

    def stop(self) -> None:
        self.process.send(15)


class ForkingLauncher(Launcher):
    """Starts such workers."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.started = folder, list[tuple[str, Forked]]()

    def start(self, name: str) -> Forked:
        worker = Forked(self._folder, name, next(NUMBERS))
        self.started.append((name, worker))
        return worker


def undisturbed() -> int:
    """What a run comes to."""
    value = 1
    for step in range(1, STEPS + 1):
        value = (31 * value + step) % 1_000_003
    return value
