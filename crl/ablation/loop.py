"""Working off an ablation: what is free gets a worker, what has died another one, and all of it is shown."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol

from crl.ablation.launching import Launcher, Worker, describe_death
from crl.ablation.worker import BUSY
from crl.claims import Sight
from crl.exit_codes import DONE, FAILED, INTERRUPTED, REFUSED, TERMINATED

TICK = 0.2  # seconds between two looks at the workers
LOOK = 2.0  # seconds between two looks at the folders
AGAIN = 10.0  # seconds after which a run is tried again that another process has, or whose worker was asked to end
DEATHS = 5  # that a run may have one after another without coming further
CODES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}
GOING = ("waiting", "queued", "running")  # states of runs that are not at their end
HANG_UP = getattr(signal, "SIGHUP", None)  # which Windows has not


class Job(Protocol):
    """A run of an ablation, as far as working it off needs it."""

    @property
    def steps(self) -> int:
        """Steps from its beginning to its end."""

    def is_finished(self) -> bool:
        """Whether it has nothing left to do."""

    def reached(self) -> int:
        """The step from which it would go on."""

    def look(self) -> Sight:
        """Whether a process works on it, and what that tells."""


@dataclass
class Status:
    """What is known of a run.

    Attributes:
        steps: in all.
        state: ``waiting``, ``queued``, ``running``, ``done`` or ``failed``.
        step: that it has come to.
        told: by the process that trains it.
        here: this process has started that one.
        why: it has failed.
        saved: the step from which it went on last.
        deaths: of its workers since it came further than that.
        not_before: when it may be tried again, by ``time.monotonic``.
    """

    steps: int
    state: str = "waiting"
    step: int = 0
    told: dict[str, Any] = field(default_factory=dict)
    here: bool = False
    why: str = ""
    saved: int = 0
    deaths: int = 0
    not_before: float = 0.0


class Wish:
    """Ctrl-C, SIGTERM and the end of the terminal (but under nohup) as a wish that the loop grants.

    Attributes:
        count: how often it was expressed.
        code: exit code of the first one.
    """

    def __init__(self) -> None:
        self.count = self.code = 0

    @contextmanager
    def heard(self) -> Iterator[None]:
        """While this lasts signals express it, where Python gives them to this thread."""
        handled = [*CODES] if threading.current_thread() is threading.main_thread() else []
        if handled and HANG_UP is not None and signal.getsignal(HANG_UP) is signal.SIG_DFL:
            handled.append(HANG_UP)
        previous = {number: signal.signal(number, self._handle) for number in handled}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.count += 1
        self.code = self.code or CODES.get(signal.Signals(number), TERMINATED)


class Loop:
    """Works off runs with so many workers at once, beside others that do the same.

    Args:
        jobs: name -> run, in the order in which they are begun.
        launcher: starts workers.
        workers: at once.
        changed: told of every run whose state has changed.
        why: says of a run that has failed why.
    """

    def __init__(
        self,
        jobs: Mapping[str, Job],
        launcher: Launcher,
        workers: int,
        changed: Callable[[str, Status], None],
        why: Callable[[str], str],
    ) -> None:
        self._jobs, self._launcher, self._most = jobs, launcher, workers
        self._changed, self._why = changed, why
        self.wish = Wish()
        self.workers: dict[str, Worker] = {}
        self.statuses = {name: Status(job.steps) for name, job in jobs.items()}

    def run(self, show: Callable[[], None]) -> int:
        """Until nothing is left to do, or that is wished: the exit code.

        Args:
            show: called several times a second.
        """
        with self.wish.heard():
            try:
                self._work_off(show)
            except BaseException:  # such as a folder that is gone: nobody would look after them
                self._stop()
                raise
        if self.wish.count:
            return self.wish.code
        return FAILED if any(status.state == "failed" for status in self.statuses.values()) else DONE

    def _work_off(self, show: Callable[[], None]) -> None:
        looked, stopped = -LOOK, 0
        while True:
            while stopped < self.wish.count:
                stopped += 1
                self._stop()
            ended = [(name, code) for name, w in self.workers.items() if (code := w.poll()) is not None]
            for name, code in ended:
                del self.workers[name]
                self._end(name, code)
            if time.monotonic() - looked >= LOOK:
                looked = time.monotonic()
                self._look()
            if not self.wish.count:
                self._start()
            show()
            if not self.workers and (self.wish.count or not self._left()):
                return
            time.sleep(TICK)

    def _stop(self) -> None:
        for worker in self.workers.values():
            worker.stop()

    def _left(self) -> bool:
        return any(status.state in GOING for status in self.statuses.values())

    def _start(self) -> None:
        now, room = time.monotonic(), self._most - len(self.workers)
        waiting = (name for name, each in self.statuses.items() if each.state == "waiting" and now >= each.not_before)
        if names := list(itertools.islice(waiting, max(room, 0))):
            with self._launcher.together():
                for name in names:
                    self._start_one(name)

    def _start_one(self, name: str) -> None:
        status = self.statuses[name]
        status.saved = self._jobs[name].reached()
        try:
            self.workers[name] = self._launcher.start(name)
        except OSError as error:
            status.why = f"its worker could not be started ({error.strerror or error})"
            self._become(name, "failed")
        else:
            status.here = True
            self._become(name, "queued" if self._launcher.queues else "running")

    def _look(self) -> None:
        """What the folders say of the runs that go on elsewhere, or here, or not yet."""
        for name, status in self.statuses.items():
            if status.state in ("done", "failed"):
                continue
            job = self._jobs[name]
            if name not in self.workers and job.is_finished():
                self._become(name, "done")
                continue
            sight = job.look()
            status.told = sight.told
            reached = sight.told.get("step")
            status.step = reached if type(reached) is int and 0 <= reached <= job.steps else job.reached()
            if name not in self.workers:
                status.here = False
                self._become(name, "running" if sight.held else "waiting")
            elif self._launcher.queues:
                self._become(name, "running" if sight.held else "queued")

    def _end(self, name: str, code: int) -> None:
        status, job = self.statuses[name], self._jobs[name]
        if code == DONE and job.is_finished():
            self._become(name, "done")
        elif code in (FAILED, REFUSED):
            status.why = self._why(name)
            self._become(name, "failed")
        elif code == BUSY or code in CODES.values() or self.wish.count:
            status.not_before = time.monotonic() + AGAIN
            self._become(name, "waiting")
        else:
            reached = job.reached()
            status.deaths = 1 if reached > status.saved else status.deaths + 1
            status.saved = status.step = reached
            if status.deaths >= DEATHS:
                status.why = f"its worker died {DEATHS} times in a row without coming further, {describe_death(code)}"
            self._become(name, "failed" if status.deaths >= DEATHS else "waiting")

    def _become(self, name: str, state: str) -> None:
        status = self.statuses[name]
        if status.state != state:
            status.state = state
            if state == "done":
                status.step = status.steps
            self._changed(name, status)
