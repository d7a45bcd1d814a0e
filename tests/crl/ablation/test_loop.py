"""Working off runs: what is started when, and what becomes of those that fail, die or are another process's."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from crl.ablation import launching, loop
from crl.ablation.loop import Loop, Status
from crl.claims import Sight


@dataclass
class Job:
    """A run whose workers end with these codes, one after another."""

    codes: list[int] = field(default_factory=lambda: [0])
    steps: int = 10
    step: int = 0
    held: int = 0
    """How many more looks find another process there, which finishes it."""
    finished: bool = False

    def is_finished(self) -> bool:
        return self.finished

    def reached(self) -> int:
        return self.step

    def look(self) -> Sight:
        if not self.held:
            return Sight(False, {})
        self.held -= 1
        self.finished = not self.held
        return Sight(True, {"step": 4, "speed": 2.0})


class Worker:
    def __init__(self, job: Job) -> None:
        self._job, self.stops = job, 0

    def poll(self) -> int | None:
        code = self._job.codes[0]
        if code == 143 and not self.stops:
            return None
        self._job.codes.pop(0)
        self._job.finished = code == 0
        return code

    def stop(self) -> None:
        self.stops += 1


class Launcher(launching.Launcher):
    def __init__(self, jobs: dict[str, Job]) -> None:
        self._jobs, self.started, self.workers = jobs, list[str](), list[Worker]()

    def start(self, name: str) -> Worker:
        if not self._jobs[name].codes:
            raise OSError(11, "Resource temporarily unavailable")
        self.started.append(name)
        self.workers.append(Worker(self._jobs[name]))
        return self.workers[-1]


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TICK", "LOOK", "AGAIN"):
        monkeypatch.setattr(loop, name, 0.0)


def worked_off(workers: int = 1, show: Any = lambda _loop: None, **jobs: Job) -> tuple[int, Launcher, Loop, list[str]]:
    """The exit code, what was started, the loop, and the changes that it told."""
    told: list[str] = []

    def changed(name: str, status: Status) -> None:
        told.append(f"{name} {status.state}")

    launcher = Launcher(jobs)
    found = Loop(jobs, launcher, workers, changed, lambda name: f"why {name}")
    return found.run(lambda: show(found)), launcher, found, told


def test_runs_are_begun_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    code, launcher, found, told = worked_off(a=Job(), b=Job(), done=Job(finished=True))
    assert (code, launcher.started) == (0, ["a", "b"])
    assert told == ["done done", "a running", "a done", "b running", "b done"]
    assert {status.step for status in found.statuses.values()} == {10}


def test_no_more_workers_than_wanted() -> None:
    most: list[int] = []
    jobs = {f"run {number}": Job() for number in range(7)}
    code, launcher, *_ = worked_off(3, lambda found: most.append(len(found.workers)), **jobs)
    assert (code, len(launcher.started), max(most)) == (0, 7, 3)


def test_a_failure_is_told_and_the_others_go_on() -> None:
    code, launcher, found, _ = worked_off(a=Job([70]), b=Job([2]), c=Job())
    assert (code, launcher.started) == (1, ["a", "b", "c"])
    assert [status.why for status in found.statuses.values()] == ["why a", "why b", ""]


def test_what_died_is_tried_again_but_not_for_ever() -> None:
    code, launcher, found, _ = worked_off(a=Job([-9, 1, 0]), b=Job([-11] * 9))  # 1: of Windows' Task Manager
    assert code == 1
    assert launcher.started == ["a"] * 3 + ["b"] * loop.DEATHS
    assert found.statuses["b"].why == ("its worker died 5 times in a row without coming further, killed by SIGSEGV")


def test_deaths_of_a_run_that_comes_further_do_not_add_up() -> None:
    job = Job([-9] * 12 + [0])

    def further(_found: Loop) -> None:
        job.step += len(job.codes) % 3 == 0

    code, launcher, *_ = worked_off(1, further, a=job)
    assert (code, len(launcher.started)) == (0, 13)


def test_another_process_that_was_faster_is_left_alone() -> None:
    code, launcher, found, told = worked_off(a=Job(held=2), b=Job([75, 0]))
    assert (code, launcher.started) == (0, ["b", "b"])
    assert told[:1] == ["a running"]
    assert "a done" in told
    assert not found.statuses["a"].here


def test_a_worker_that_cannot_be_started_fails_its_run_alone() -> None:
    code, launcher, found, _ = worked_off(a=Job([]), b=Job())
    assert (code, launcher.started) == (1, ["b"])
    assert found.statuses["a"].why == "its worker could not be started (Resource temporarily unavailable)"


class Queueing(Launcher):
    """What it starts together has its turn once the second look has been taken."""

    queues = True
    batches: ClassVar[list[list[str]]] = []

    @contextmanager
    def together(self) -> Iterator[None]:
        before = len(self.started)
        yield
        self.batches.append(self.started[before:])


def test_what_waits_for_its_turn_elsewhere_is_queued_till_its_claim_is_seen() -> None:
    jobs = {name: Job([143, 0]) for name in "ab"}
    launcher, told = Queueing(jobs), list[str]()
    looks = iter(range(5))

    def show() -> None:
        look = next(looks, None)
        if look == 1:
            jobs["a"].held = 2  # more looks than it is given: that finishes it
        elif look == 2:
            jobs["a"].held, jobs["a"].finished = 0, False
        elif look == 4:
            for worker in launcher.workers:
                worker.stop()

    launcher.batches.clear()
    found = Loop(jobs, launcher, 2, lambda name, status: told.append(f"{name} {status.state}"), lambda _: "")
    assert found.run(show) == 0
    assert launcher.batches[0] == ["a", "b"]
    assert told[:4] == ["a queued", "b queued", "a running", "a queued"]
    assert sorted(told[-2:]) == ["a done", "b done"]


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_wish_to_stop_is_passed_on_each_time(number: signal.Signals, expected: int) -> None:
    times = iter([1, 2])

    def show(found: Loop) -> None:
        if found.workers and next(times, None):
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    code, launcher, found, _ = worked_off(2, show, a=Job([143]), b=Job([143]), c=Job())
    assert (code, launcher.started) == (expected, ["a", "b"])
    assert all(worker.stops >= 1 for worker in launcher.workers)
    assert [status.state for status in found.statuses.values()] == ["waiting"] * 3
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("ignored", "expected"), [(False, 143), (True, 0)])
def test_the_end_of_the_terminal_is_a_wish_to_stop_but_under_nohup(ignored: bool, expected: int) -> None:
    def show(found: Loop) -> None:
        if found.workers:
            os.kill(os.getpid(), signal.SIGHUP)  # again and again, which does not insist

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        code, launcher, *_ = worked_off(1, show, a=Job([0 if ignored else 143]))
        assert (code, launcher.started) == (expected, ["a"])
        assert [worker.stops for worker in launcher.workers] == [0 if ignored else 1]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_error_leaves_no_worker_that_nobody_looks_after() -> None:
    jobs = {"a": Job([143])}
    launcher = Launcher(jobs)

    def show() -> None:
        if launcher.workers:
            raise OSError(5, "Input/output error")

    found = Loop(jobs, launcher, 1, lambda *_: None, lambda _: "")
    with pytest.raises(OSError, match="Input/output error"):
        found.run(show)
    assert launcher.workers[0].stops == 1


class TeamLauncher(launching.Launcher):
    """Each worker of the team ``t`` ends as the next of these plans says: codes that it tells, and its own."""

    def __init__(self, jobs: dict[str, Job], plans: list[tuple[dict[str, int], int]]) -> None:
        self._jobs, self._plans = jobs, plans
        self.told: dict[str, int] = {}
        self.started: list[tuple[str, list[str]]] = []
        self.loop: Loop | None = None

    def start(self, name: str) -> Any:
        assert self.loop is not None
        self.started.append((name, [*self.loop.trained[name]]))
        told, code = self._plans.pop(0) if name == "t" else ({}, 0)
        self.told = {}
        return TeamWorker(self, name, told, code)


class TeamWorker:
    """Tells of an end at each look, and then ends itself."""

    def __init__(self, launcher: TeamLauncher, name: str, told: dict[str, int], code: int) -> None:
        self._launcher, self._name, self._told, self._code = launcher, name, dict(told), code

    def poll(self) -> int | None:
        if self._told:
            name, code = self._told.popitem()
            self._launcher.told[name] = code
            self._launcher._jobs[name].finished = code == 0
            return None
        if self._name != "t":
            self._launcher._jobs[self._name].finished = True
        return self._code

    def stop(self) -> None:
        raise AssertionError


def team(plans: list[tuple[dict[str, int], int]], **jobs: Job) -> tuple[int, TeamLauncher, list[str], Loop]:
    launcher, told = TeamLauncher(jobs, plans), list[str]()
    found = launcher.loop = Loop(
        jobs, launcher, 1, lambda name, status: told.append(f"{name} {status.state}"), lambda name: f"why {name}",
        {"t": ["a", "b", "c"]}, lambda _: launcher.told,
    )  # fmt: skip
    return found.run(lambda: None), launcher, told, found


def test_a_team_has_one_worker_and_each_of_its_runs_an_end_of_its_own() -> None:
    code, launcher, told, found = team(
        [({"a": 0, "b": 70, "c": 75}, 70), ({"c": 0}, 0)], a=Job(), b=Job(), c=Job(), d=Job()
    )
    assert code == 1
    assert launcher.started[:2] == [("t", ["a", "b", "c"]), ("t", ["c"])] or launcher.started[1] == ("d", ["d"])
    assert sorted(launcher.started) == [("d", ["d"]), ("t", ["a", "b", "c"]), ("t", ["c"])]
    assert told[:3] == ["a running", "b running", "c running"]
    assert told[3:6] == ["c waiting", "b failed", "a done"]
    assert {name: status.state for name, status in found.statuses.items()} == {
        "a": "done", "b": "failed", "c": "done", "d": "done",
    }  # fmt: skip
    assert found.statuses["b"].why == "why b"


def test_what_dies_with_a_team_twice_is_trained_alone() -> None:
    jobs = {name: Job() for name in "abc"}
    jobs["c"].finished = True
    code, launcher, *_ = team([({}, -11), ({}, -11)], **jobs)
    assert code == 0
    assert launcher.started == [("t", ["a", "b"]), ("t", ["a", "b"]), ("a", ["a"]), ("b", ["b"])]
