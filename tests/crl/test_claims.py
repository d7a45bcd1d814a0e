"""Who may write into a run's folder: one process, and which one when it seems to have died."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from processes import Process

from crl import claims
from crl.claims import Claim, ClaimLostError, Sight

HOLD = """
import sys, time
from pathlib import Path
from crl import claims
claims.BEAT = 0.05
claim = claims.take(Path("run"))
claim.report = lambda: {"step": 7}
print(claim.number, flush=True)
while not Path("end").exists():
    time.sleep(0.01)
try:
    claim.check()
except claims.ClaimLostError as error:
    print(error)
claim.release()
"""


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"BEAT": 0.05, "LEASE": 0.5, "WATCH": 0.3}.items():
        monkeypatch.setattr(claims, name, seconds)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def taken(folder: Path) -> Claim:
    found = claims.take(folder)
    assert found is not None
    return found


def holding(run: Path) -> Process:
    """A process that has the run."""
    process = Process(code=HOLD, cwd=run.parent)
    process.until(process.printed)
    assert process.printed() == "1\n", process.errors()
    return process


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / claims.FOLDER).iterdir())


def test_one_has_it_at_a_time_and_numbers_rise(run: Path) -> None:
    assert claims.look(run) == Sight(False, {})
    first = taken(run)
    assert (first.number, claims.take(run), claims.look(run).held) == (1, None, True)
    first.check()
    first.release()
    assert not claims.look(run).held
    second = taken(run)
    assert (second.number, names(run)) == (2, ["2", "2.lock"])
    with pytest.raises(ClaimLostError, match="has been taken over by another process"):
        first.check()
    second.release()


def test_what_is_told_can_be_read(run: Path) -> None:
    claim = taken(run)
    claim.report = lambda: {"step": 3, "task": "a"}
    deadline = time.monotonic() + 30
    while not claims.look(run).told.get("step"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    told = claims.look(run).told
    assert (told["step"], told["task"], told["pid"]) == (3, "a", os.getpid())
    claim.report = lambda: {"step": object()}  # a report that cannot be written costs no sign of life
    time.sleep(1)
    assert claims.look(run).held
    claim.release()


def test_a_killed_holder_is_known_to_be_dead_at_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "LEASE", 1e6)
    process = holding(run)
    assert claims.take(run) is None
    process.kill()
    claim = taken(run)
    assert claim.number == 2
    claim.release()


def test_a_holder_that_stood_still_comes_back_and_learns_that_it_was_given_up(run: Path) -> None:
    process = holding(run)
    process.send(signal.SIGSTOP)
    assert claims.take(run) is None  # it has given a sign of life just now
    time.sleep(0.6)
    assert not claims.look(run).held
    claim = taken(run)
    process.send(signal.SIGCONT)
    (run.parent / "end").touch()
    assert process.wait() == 0, process.errors()
    assert process.printed() == "1\nthe run in 'run' has been taken over by another process\n"
    claim.check()
    assert names(run)[0] == "2"
    assert json.loads((run / claims.FOLDER / "2").read_text())["pid"] == os.getpid()
    claim.release()


def test_a_holder_that_wakes_up_while_it_is_watched_keeps_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = holding(run)
    process.send(signal.SIGSTOP)
    time.sleep(0.6)
    real = time.sleep

    def watched(seconds: float) -> None:
        process.send(signal.SIGCONT)
        real(seconds)

    with monkeypatch.context() as patch:
        patch.setattr(claims.time, "sleep", watched)
        assert claims.take(run) is None
    (run.parent / "end").touch()
    assert (process.wait(), process.printed()) == (0, "1\n")


def test_of_another_machine_only_signs_of_life_count(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = holding(run)
    process.kill()  # its lock is free, which is not known over there
    monkeypatch.setattr(claims, "_machine", lambda: "another")
    monkeypatch.setattr(claims, "LEASE", 1e6)
    assert claims.look(run).held
    assert claims.take(run) is None
    path = run / claims.FOLDER / "1"
    for last in (0.0, time.time() + 2e6):  # also of a clock that goes ahead
        os.utime(path, (last, last))
        assert not claims.look(run).held
    claim = taken(run)
    assert claim.number == 2
    claim.release()


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1]", b"[" * 100_000, b'{"machine": 3, "ended": 1}'])
def test_a_claim_that_cannot_be_read_is_held_till_it_is_silent(content: bytes, run: Path) -> None:
    place = run / claims.FOLDER
    place.mkdir()
    (place / "5").write_bytes(content)
    assert claims.take(run) is None
    os.utime(place / "5", (0, 0))
    claim = taken(run)
    assert claim.number == 6
    claim.release()


def test_who_goes_by_an_old_list_gives_way(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        taken(run).release()
    holder, real, lists = taken(run), claims._newest, iter([0])
    monkeypatch.setattr(claims, "_newest", lambda place: next(lists, None) or real(place))
    assert claims.take(run) is None
    assert [name for name in names(run) if not name.endswith(".lock")] == ["3"]
    holder.check()
    holder.release()


def test_who_hangs_before_it_has_made_its_file_is_passed_over(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked, hung = claims._locked, list[Claim | None]()

    def stands_still(place: Path, number: int) -> object:
        lock = locked(place, number)
        if number == 1 and lock is not None:  # a second process comes, and gets the run, while this one stands still
            hung.append(claims.take(run))
            assert names(run) == ["2", "2.lock"]
        return lock

    monkeypatch.setattr(claims, "_locked", stands_still)
    assert claims.take(run) is None
    (second,) = hung
    assert second is not None
    second.check()
    assert (second.number, [name for name in names(run) if name.isdecimal()]) == (2, ["2"])
    second.release()


def test_who_goes_on_while_it_is_watched_keeps_its_number(run: Path) -> None:
    (run / claims.FOLDER).mkdir()
    lock = claims._locked(run / claims.FOLDER, 1)
    assert lock is not None
    late = threading.Timer(0.1, (run / claims.FOLDER / "1").write_bytes, [claims._content({})])
    late.start()
    assert claims.take(run) is None
    late.join()
    assert names(run) == ["1", "1.lock"]
    lock.release()


def test_a_folder_that_is_gone_is_told_apart_from_one_that_is_lost(run: Path) -> None:
    claim = taken(run)
    run.rename(run.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError, match="the run's folder is gone"):
        claim.check()
    claim.release()


def test_places_that_are_passed_often_look_now_and_then(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, clock, looks = taken(run), [1000.0], list[float]()
    monkeypatch.setattr(claims.time, "time", lambda: clock[0])
    monkeypatch.setattr(Claim, "check", lambda _self: looks.append(clock[0]))
    for now in (1000.0, 1000.4, 1000.6, 1000.7, 900.0):
        clock[0] = now
        claim.check_again()
    assert looks == [1000.0, 1000.6, 900.0]
    monkeypatch.undo()
    claim.release()


def test_what_fails_while_a_claim_is_made_leaves_none(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_what: object) -> bytes:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(claims, "_content", full)
        with pytest.raises(OSError, match="No space left"):
            claims.take(run)
    claim = taken(run)
    assert claim.number == 1
    claim.release()


def test_who_goes_by_an_old_list_and_is_cleared_away_gives_way(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        taken(run).release()
    holder, real, lists = taken(run), claims._newest, iter([0])

    def listed(place: Path) -> int:
        claims._remove_below(place, 3)
        return next(lists, None) or real(place)

    monkeypatch.setattr(claims, "_newest", listed)
    assert claims.take(run) is None
    holder.release()


def test_what_is_called_as_no_claim_is_none(run: Path) -> None:
    (run / claims.FOLDER).mkdir()
    (run / claims.FOLDER / "007").touch()
    assert not claims.look(run).held
    claim = taken(run)
    assert claim.number == 1
    claim.release()
