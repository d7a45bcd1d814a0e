"""Working off an ablation: what is free gets a worker, what has died another one, and all of it is shown."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol

from crl.ablation.launching import RUN_FAILED, Launcher, Worker, describe_death
from crl.ablation.worker import BUSY
from crl.claims import Sight
from crl.exit_codes import DONE, FAILED, HANG_UP, OF_SIGNALS, REFUSED, of_signals

TICK = 0.2  # seconds between two looks at the workers
LOOK = 2.0  # seconds between two looks at the folders
AGAIN = 10.0  # seconds after which a run is tried again that another process has, or whose worker was asked to end
DEATHS_TOGETHER = 2  # of workers one after another in which a run comes no further, after which it has one for itself
DEATHS = 5  # that a run may have one after another without coming further
GOING = ("waiting", "queued", "running")  # states of runs that are not at their end


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
        self._codes: dict[signal.Signals, int] = {}

    @contextmanager
    def heard(self) -> Iterator[None]:
        """While this lasts signals express it, where Python gives them to this thread."""
        if threading.current_thread() is threading.main_thread():
            self._codes = of_signals()
        previous = {number: signal.signal(number, self._handle) for number in self._codes}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.count and number == HANG_UP:
            return  # nobody insists: a shell hangs up what its terminal has hung up, too
        self.count += 1
        self.code = self.code or self._codes[signal.Signals(number)]


class Loop:
    """Works off runs with so many workers at once, beside others that do the same.

    Args:
        jobs: name -> run, in the order in which they are begun.
        launcher: starts workers.
        workers: at once.
        changed: told of every run whose state has changed.
        why: says of a run that has failed why.
        teams: name -> names of the runs that one worker trains together; all others have a worker each, of their name.
        ends: tells of a team how the runs of its worker have ended by now, by their exit codes.

    Attributes:
        wish: to end.
        workers: name of a team, or of a run that is in none, -> its worker.
        trained: likewise -> the runs that this worker was started for and that have not ended.
        statuses: name -> what is known of that run.
    """

    def __init__(
        self,
        jobs: Mapping[str, Job],
        launcher: Launcher,
        workers: int,
        changed: Callable[[str, Status], None],
        why: Callable[[str], str],
        teams: Mapping[str, Sequence[str]] | None = None,
        ends: Callable[[str], Mapping[str, int]] = lambda _: {},
    ) -> None:
        self._jobs, self._launcher, self._most = jobs, launcher, workers
        self._changed, self._why, self._ends = changed, why, ends
        self._teams = {team: [*names] for team, names in (teams or {}).items()}
        self.wish = Wish()
        self.workers: dict[str, Worker] = {}
        self.trained: dict[str, list[str]] = {}
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
            ended = [(unit, code) for unit, w in self.workers.items() if (code := w.poll()) is not None]
            for unit, code in ended:
                del self.workers[unit]
                self._end_all(unit, code)
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
        room = self._most - len(self.workers)
        if due := list(itertools.islice(self._due(), max(room, 0))):
            with self._launcher.together():
                for unit, names in due:
                    self._start_one(unit, names)

    def _due(self) -> Iterator[tuple[str, list[str]]]:
        """What may be started: name of a team, or of a run that is in none, and the runs."""
        now = time.monotonic()
        team_of = {name: team for team, names in self._teams.items() for name in names}
        units: dict[str, list[str]] = {}
        for name, status in self.statuses.items():
            if status.state == "waiting" and now >= status.not_before:
                units.setdefault(team_of.get(name, name), []).append(name)
        return ((unit, names) for unit, names in units.items() if unit not in self.workers)

    def _start_one(self, unit: str, names: list[str]) -> None:
        self.trained[unit] = names
        for name in names:
            self.statuses[name].saved = self._jobs[name].reached()
        try:
            self.workers[unit] = self._launcher.start(unit)
        except OSError as error:
            del self.trained[unit]
            for name in names:
                self.statuses[name].why = f"its worker could not be started ({error.strerror or error})"
                self._become(name, "failed")
        else:
            for name in names:
                self.statuses[name].here = True
                self._become(name, "queued" if self._launcher.queues else "running")

    def _look(self) -> None:
        """What the folders say of the runs that go on elsewhere, or here, or not yet."""
        for unit in self.trained:
            self._end_some(unit)
        here = {name for names in self.trained.values() for name in names}
        for name, status in self.statuses.items():
            if status.state in ("done", "failed"):
                continue
            job = self._jobs[name]
            if name not in here and job.is_finished():
                self._become(name, "done")
                continue
            sight = job.look()
            status.told = sight.told
            reached = sight.told.get("step")
            status.step = reached if type(reached) is int and 0 <= reached <= job.steps else job.reached()
            if name not in here:
                status.here = False
                self._become(name, "running" if sight.held else "waiting")
            elif self._launcher.queues:
                self._become(name, "running" if sight.held else "queued")

    def _end_some(self, unit: str) -> None:
        """Those of a team that have ended before the others."""
        told = self._ends(unit) if unit in self._teams else {}
        for name in [name for name in self.trained[unit] if name in told]:
            self.trained[unit].remove(name)
            self._end(name, told[name])

    def _end_all(self, unit: str, code: int) -> None:
        """A worker has ended; those of its runs that have not been told of end with it."""
        self._end_some(unit)
        for name in self.trained.pop(unit):
            # Another machine may have told what is not seen here yet.
            self._end(name, DONE if unit in self._teams and self._jobs[name].is_finished() else code)
            if self.statuses[name].deaths >= DEATHS_TOGETHER:  # it may be this one that kills the others
                self._teams = {team: [each for each in names if each != name] for team, names in self._teams.items()}

    def _end(self, name: str, code: int) -> None:
        status, job = self.statuses[name], self._jobs[name]
        if code == DONE and job.is_finished():
            self._become(name, "done")
        elif code in (RUN_FAILED, REFUSED):
            status.why = self._why(name)
            self._become(name, "failed")
        elif code == BUSY or code in OF_SIGNALS.values() or self.wish.count:
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
