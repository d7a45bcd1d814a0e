"""Runs whose workers are killed and stopped at random, by two loops at once: none is lost, and none is done twice."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from itertools import accumulate
from pathlib import Path

import pytest
from stub_worker import HASTE, Forked, ForkingLauncher, Job, undisturbed

from crl import claims
from crl.ablation import loop
from crl.ablation.loop import Loop

RUNS, STOPPED, PATIENCE = 30, 4, 300.0


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in HASTE.items():
        monkeypatch.setattr(claims, name, seconds)
    for name, seconds in {"TICK": 0.02, "LOOK": 0.3, "AGAIN": 0.2}.items():
        monkeypatch.setattr(loop, name, seconds)


def test_thirty_runs_killed_at_random_are_all_done_once(tmp_path: Path) -> None:
    dice = random.Random(0)
    names = [f"run {number}" for number in range(RUNS)]
    jobs = {name: Job(tmp_path / name) for name in names}
    kills = {name: dice.choice([1, 1, 1, 2]) for name in names}
    stops = set(dice.sample(names, STOPPED))
    launchers = [ForkingLauncher(tmp_path) for _ in range(2)]
    loops = [Loop(jobs, launcher, 3, lambda *_: None, lambda _: "it failed") for launcher in launchers]
    codes: list[int] = []
    threads = [threading.Thread(target=lambda each=each: codes.append(each.run(lambda: None))) for each in loops]
    for thread in threads:
        thread.start()
    moments: dict[str, float] = {}  # when the worker of that run is killed next
    frozen, killed, deadline = dict[str, Forked](), 0, time.monotonic() + PATIENCE
    while any(thread.is_alive() for thread in threads):
        assert time.monotonic() < deadline
        time.sleep(0.01)
        for name, worker in [pair for each in loops for pair in list(each.workers.items())]:
            assert isinstance(worker, Forked)
            if not (kills[name] or name in stops) or worker in frozen.values():
                continue
            longest = 0.05 if name in stops else 0.15  # a worker that has its run takes at least 0.08 seconds
            if time.monotonic() < moments.setdefault(name, time.monotonic() + dice.uniform(0, longest)):
                continue
            del moments[name]
            if name not in stops:
                kills[name] -= 1
                killed += 1
                worker.process.send(signal.SIGKILL)
            elif (tmp_path / name / claims.FOLDER).exists():
                stops.remove(name)
                frozen[name] = worker
                worker.process.send(signal.SIGSTOP)
        for name, worker in frozen.items():
            if jobs[name].is_finished():
                worker.process.send(signal.SIGCONT)  # back from the dead
    assert codes == [0, 0], [status for each in loops for status in each.statuses.values() if status.why]
    assert killed >= RUNS - STOPPED
    assert len(frozen) == STOPPED
    for name in names:
        folder = tmp_path / name
        assert json.loads((folder / "results.json").read_text()) == {"status": "done", "value": undisturbed()}
        writers = [int(line) for line in (folder / "written.txt").read_text().split()]
        # None wrote beside its successor, or after it, but for what one had just begun when it was stopped.
        late = [number for number, newest in zip(writers, accumulate(writers, max), strict=True) if number < newest]
        assert len(late) <= (name in frozen)
        assert sorted(int(path.name) for path in (folder / "checkpoints").iterdir()) == list(range(1, 9))
    errors = [worker.process.errors() for launcher in launchers for _, worker in launcher.started]
    assert [text for text in errors if text] == []
