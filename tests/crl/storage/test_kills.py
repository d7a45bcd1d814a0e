"""A kill between any two operations on files leaves checkpoints that are whole."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from processes import Process
from stored import FILES, checkpoints, names

from crl import storage


class KilledError(BaseException):
    """Stands for the end of the process."""


def kill_at(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let the file operation with this number, and all after it, not happen."""
    left = [count]

    def before(module: Any, name: str) -> None:
        original = getattr(module, name)

        def operation(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise KilledError
            return original(*arguments, **options)

        monkeypatch.setattr(module, name, operation)

    for name in ("rename", "replace", "unlink", "mkdir"):
        before(Path, name)
    for name in ("fsync", "rmdir"):
        before(os, name)
    before(shutil, "rmtree")


@pytest.mark.parametrize("count", range(40))
def test_a_kill_while_pruning_leaves_every_checkpoint_whole_or_gone(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoints(tmp_path, 1, 2, 3, 4)
    with monkeypatch.context() as patch:
        kill_at(patch, count)
        try:
            storage.prune(folder, keep=3, keep_heavy=1)
        except KilledError:
            pass
        else:
            assert count > 10
    for step in (2, 3, 4):
        assert storage.read(folder / str(step), ["learner"])["learner"]["step"] == step
        storage.verify(folder / str(step))
    assert "replay" in storage.read(folder / "4")
    storage.prune(folder, keep=3, keep_heavy=1)
    assert names(folder) == ["2", "3", "4"]
    assert names(folder / "2") == names(folder / "3") == FILES[:4]


@pytest.mark.parametrize("name", ["64", "a task, (é)"])
@pytest.mark.parametrize("count", range(14))
def test_a_kill_while_replacing_leaves_the_old_one_or_the_new_one(
    count: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write(tmp_path / name, {"learner": 1})
    with monkeypatch.context() as patch:
        kill_at(patch, count)
        with contextlib.suppress(KilledError):
            storage.write(tmp_path / name, {"learner": 2})
    storage.recover(tmp_path)
    assert storage.read(tmp_path / name)["learner"] in (1, 2)
    storage.recover(tmp_path)
    assert set(names(tmp_path)) <= {name, f".{name}.tmp"}
    storage.write(tmp_path / name, {"learner": 3})
    assert names(tmp_path) == [name]
    storage.recover(tmp_path / "nowhere")


@pytest.mark.parametrize("count", range(12))
def test_a_kill_while_writing_leaves_the_checkpoints_before(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoints(tmp_path, 1)
    with monkeypatch.context() as patch:
        kill_at(patch, count)
        with contextlib.suppress(KilledError):
            storage.write(folder / "2", {"learner": {"step": 2}})
    found, passed_over = storage.newest(folder)
    assert passed_over == []
    assert found is not None
    assert storage.read(found)["learner"]["step"] == int(found.name)
    storage.write(folder / "2", {"learner": {"step": 3}})
    assert storage.read(folder / "2") == {"learner": {"step": 3}}
    storage.prune(folder, keep=5)
    assert names(folder) == ["1", "2"]


ENDLESS = """
import itertools
from pathlib import Path
import numpy as np
from crl import storage
folder = Path("checkpoints")
first = storage.newest(folder)[0]
for step in itertools.count(int(first.name) + 1 if first else 1):
    storage.write(folder / str(step), {"learner": {"step": step}, "replay": np.full(1_000_000, step)})
    storage.prune(folder, keep=3)
    print(step, flush=True)
"""


def test_real_kills_leave_a_whole_newest_checkpoint(tmp_path: Path) -> None:
    folder, generator, done = tmp_path / "checkpoints", random.Random(0), 0
    for number in range(2):
        process = Process(code=ENDLESS, cwd=tmp_path, name=f"process {number}")
        process.until(lambda process=process: "\n" in process.printed())  # type: ignore[misc]
        time.sleep(generator.random() / 5)
        process.kill()
        assert process.wait() == -9, process.errors()
        done = max([done, *map(int, process.printed().split())])
        found, passed_over = storage.newest(folder)
        assert passed_over == []
        assert found is not None
        assert int(found.name) >= done
        state = storage.read(found)
        assert state["learner"]["step"] == int(found.name)
        assert (state["replay"] == int(found.name)).all()
