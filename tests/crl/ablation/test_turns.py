"""Seeds that are trained together in one process, beside runs that have a process for themselves."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compared import assert_equal, checkpoints_of, rows_of
from small_checkpoints import CHECKPOINTED

from agents import PPO
from agents.batched import Together, update
from agents.batched.shapes import AloneError
from crl import claims, run_folder, storage
from crl.ablation import grid, launching, record, turns, watch, worker

GRID = "{base: tiny.yaml, overrides: {stream.steps_per_task: 80}, arms: {plain: {}}, seeds: [3, 4, 5], folder: all}\n"
NAMES = [f"plain__s{seed}" for seed in (3, 4, 5)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an ablation that has begun no run."""
    (tmp_path / "tiny.yaml").write_text(CHECKPOINTED)
    (tmp_path / "grid.yaml").write_text(GRID)
    monkeypatch.chdir(tmp_path)
    record.keep(grid.read(Path("grid.yaml")))
    return tmp_path / "all"


def work(place: Path, names: list[str]) -> tuple[int, dict[str, int]]:
    """The exit code of a worker of these runs, and how each has ended."""
    (place / launching.OUTPUTS).mkdir(exist_ok=True)
    ends = place / launching.OUTPUTS / "ends"
    ends.unlink(missing_ok=True)
    before = (np.random.get_state()[1].sum(), signal.getsignal(signal.SIGTERM))
    code = worker.main([str(place), "grid.yaml", "tiny.yaml", worker.TOGETHER, str(ends), *names])
    assert (np.random.get_state()[1].sum(), signal.getsignal(signal.SIGTERM)) == before
    return code, launching.ends_in(ends)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """No update can be made together: what is left is taking turns, which must not change a bit."""

    def refuse(_: object) -> None:
        raise AloneError("it is so")

    monkeypatch.setattr(update, "shapes_of", refuse)


def stop_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """SIGTERM comes in the update of that number."""
    updates, made = iter(range(1, 100)), Together.update

    def stopping(self: Together, *arguments: Any) -> Any:
        if next(updates) == number:
            signal.raise_signal(signal.SIGTERM)
        return made(self, *arguments)

    monkeypatch.setattr(Together, "update", stopping)


def test_turns_change_nothing_and_all_are_saved_and_gone_on_with(
    place: Path, checkpointed: Path, apart: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as stopped:
        stop_at(stopped, 2)
        assert work(place, ["plain__s4"]) == (143, {"plain__s4": 143})
    assert checkpoints_of(place / "plain__s4") == [80]
    with monkeypatch.context() as stopped:
        stop_at(stopped, 3)
        assert work(place, NAMES) == (143, dict.fromkeys(NAMES, 143))
    # One of them was two updates ahead of the others.
    assert [checkpoints_of(place / name)[-1] for name in NAMES] == [120, 200, 120]
    assert work(place, NAMES) == (0, dict.fromkeys(NAMES, 0))
    assert_equal(place / "plain__s3", checkpointed)
    assert worker.main([str(place), "grid.yaml", "tiny.yaml", "plain__s4"]) == 0  # and nothing is left to do
    said = (place / launching.OUTPUTS / "plain__s3.txt").read_text()
    assert said.count(f"run folder: {place / 'plain__s3'}\n") >= 2
    assert "plain__s4" not in said


def test_whose_turn_lasts_is_told_by_all_that_wait(place: Path, apart: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT", 0.01)
    monkeypatch.setattr(watch, "LONG", 0.0)
    seen, updates, update = set[str](), iter(range(100)), turns.Seat.update

    def hanging(self: turns.Seat, agent: PPO) -> None:
        deadline = time.monotonic() + 20
        hangs = self.name == "plain__s4" and next(updates) == 1  # by then the others wait
        while hangs and len(seen) < 3:
            assert time.monotonic() < deadline
            seen.update(name for name in NAMES if claims.look(place / name).told.get(watch.TURN_OF) == self.name)
        update(self, agent)

    monkeypatch.setattr(turns.Seat, "update", hanging)
    assert work(place, NAMES) == (0, dict.fromkeys(NAMES, 0))
    assert seen == {*NAMES}


def test_each_run_ends_as_by_itself_within_rounding(place: Path, checkpointed: Path) -> None:
    assert work(place, NAMES) == (0, dict.fromkeys(NAMES, 0))
    found = place / "plain__s3"
    assert sorted(path.name for path in found.iterdir() if not path.name.startswith((".", "events"))) == sorted(
        path.name for path in checkpointed.iterdir() if not path.name.startswith((".", "events"))
    )
    for row, expected in zip(rows_of(found), rows_of(checkpointed), strict=True):
        assert row.keys() == expected.keys()
        assert all(_close(row[tag], expected[tag]) for tag in row)
    mine, own = (storage.read(each / "checkpoints" / "400")["learner"]["modules"] for each in (found, checkpointed))
    weights = [(mine["policy"][name], own["policy"][name]) for name in own["policy"]]
    assert all(np.allclose(one, other, rtol=0, atol=1e-4) for one, other in weights)
    assert any((one != other).any() for one, other in weights)
    assert (found / "model.zip").stat().st_size == pytest.approx((checkpointed / "model.zip").stat().st_size, rel=0.05)


def _close(one: str, other: str) -> bool:
    return one == other or float(one) == pytest.approx(float(other), rel=1e-2, abs=1e-3)


def test_one_that_fails_or_is_taken_leaves_the_others_alone(place: Path) -> None:
    path = place / record.FILE
    known = json.loads(path.read_text())
    known["runs"]["plain__s4"]["agent"]["learning_rate"] = 1e30
    path.write_text(json.dumps(known))
    (place / "plain__s5").mkdir()
    with run_folder.locked(place / "plain__s5"):
        ends = {"plain__s3": 0, "plain__s4": launching.RUN_FAILED, "plain__s5": worker.BUSY}
        assert work(place, NAMES) == (worker.BUSY, ends)
    assert checkpoints_of(place / "plain__s3")[-1] == 400
    assert "lower agent.learning_rate" in launching.last_words(place, "plain__s4")
    assert list((place / "plain__s4").glob("crash-*.txt"))
