"""Which checkpoints are found, which stay, and which keep their replay."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from stored import FILES, HeldError, checkpoints, names

from crl import storage
from crl.storage import DamagedError


def test_the_newest_that_is_whole_is_found(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path, 9, 64, 128, 1000, 2000)
    (folder / ".3000.tmp").mkdir()
    for name in ("notes", "0064", "64 copy", "\N{SUPERSCRIPT TWO}"):
        (folder / name).mkdir()
    (folder / "5000").write_text("")
    assert storage.newest(folder) == (folder / "2000", [])
    (folder / "2000" / "manifest.json").unlink()
    os.truncate(folder / "1000" / "replay.safetensors", 10)
    shutil.rmtree(folder / "128")
    shutil.copytree(folder / "64", folder / "128")
    found, passed_over = storage.newest(folder)
    assert found == folder / "64"
    assert [sentence.split(":")[0] for sentence in passed_over] == [
        f"checkpoint {step} is passed over" for step in (2000, 1000, 128)
    ]
    assert "manifest.json' is missing" in passed_over[0]
    assert "replay.safetensors' has 10 bytes where" in passed_over[1]
    assert passed_over[2].endswith("it is of step 64")


def test_there_need_be_no_checkpoint(tmp_path: Path) -> None:
    assert storage.newest(tmp_path / "none") == (None, [])
    storage.prune(tmp_path / "none", keep=3)


def test_the_newest_remain_and_the_newest_two_keep_their_replay(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path, 9, 64, 128, 1000, 2000)
    for name in ("notes", ".900.tmp", ".9.tmp", ".64.old.tmp", ".mine.tmp"):
        (folder / name).mkdir()
        (folder / name / "file").write_text("")
    storage.prune(folder, keep=3)
    assert names(folder) == [".mine.tmp", "1000", "128", "2000", "notes"]
    assert "replay" in storage.read(folder / "1000")
    assert names(folder / "128") == FILES[:4]
    assert list(storage.read(folder / "128")) == ["learner"]
    assert storage.verify(folder / "128").dropped == ["replay"]
    with pytest.raises(DamagedError, match="has no part 'replay': it was dropped to save space"):
        storage.read(folder / "128", ["replay"])
    with pytest.raises(DamagedError, match="has no part 'x': it was never written"):
        storage.read(folder / "128", ["x"])
    for step in ("1000", "2000"):
        (folder / step / "learner.json").unlink()
    assert storage.newest(folder)[0] == folder / "128"
    found, passed_over = storage.newest(folder, needed=["replay"])
    assert found is None
    assert "dropped to save space" in passed_over[-1]
    with pytest.raises(ValueError, match="keep=0"):
        storage.prune(folder, keep=0)


def test_a_checkpoint_cut_short_does_not_push_out_a_whole_one(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path, 1, 2, 3, 4)
    os.truncate(folder / "4" / "learner.safetensors", 10)
    (folder / "2" / "manifest.json").write_text("{}")
    storage.prune(folder, keep=2, keep_heavy=1)
    assert names(folder) == ["1", "2", "3", "4"]
    assert storage.newest(folder)[0] == folder / "3"
    assert storage.verify(folder / "1").dropped == ["replay"]
    storage.prune(folder, keep=1)
    assert names(folder) == ["3", "4"]


def test_what_is_being_read_stays_till_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, rename, unlink = checkpoints(tmp_path, 1, 2, 3, 4), Path.rename, Path.unlink

    def renamed(path: Path, target: Path) -> Path:
        if path.name == "1":
            raise HeldError
        return rename(path, target)

    def removed(path: Path, **options: Any) -> None:
        if path.name == "replay.safetensors":
            raise HeldError
        unlink(path, **options)

    monkeypatch.setattr("crl.storage.files.PAUSES", ())
    monkeypatch.setattr(Path, "rename", renamed)
    monkeypatch.setattr(Path, "unlink", removed)
    storage.prune(folder, keep=2, keep_heavy=1)
    assert names(folder) == ["1", "3", "4"]
    assert "replay.safetensors" in names(folder / "3")
    assert list(storage.read(folder / "3")) == ["learner"]
    monkeypatch.undo()
    storage.prune(folder, keep=2, keep_heavy=1)
    assert names(folder) == ["3", "4"]
    assert names(folder / "3") == FILES[:4]


def test_checkpoints_newer_than_the_one_that_is_gone_on_from_are_set_aside(tmp_path: Path) -> None:
    for name in ("100", "200", "300", "notes"):
        (tmp_path / name).mkdir()
    storage.set_aside(tmp_path, tmp_path / "100")
    names = sorted(path.name.rpartition("-")[0] or path.name for path in tmp_path.iterdir())
    assert names == ["100", "notes", "unused-200", "unused-300"]
    storage.set_aside(tmp_path, None)
    assert not (tmp_path / "100").exists()
