"""Where an agent's zip is written, and that the one before is lost to nothing."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from agents import PPO, zips


def test_it_lies_where_stable_baselines_would_put_it(tmp_path: Path) -> None:
    zips.put(tmp_path / "model", b"one")
    zips.put(str(tmp_path / "other.pt"), b"two")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"model.zip": b"one", "other.pt": b"two"}
    with pytest.warns(UserWarning, match="does not exist. Will create it"):
        zips.put(tmp_path / "new" / "model", b"three")
    (tmp_path / "model.d").mkdir()
    with pytest.warns(UserWarning, match="is a folder. Will save instead to"):
        zips.put(tmp_path / "model.d", b"four")
    assert (tmp_path / "new" / "model.zip").read_bytes() == b"three"
    assert (tmp_path / "model.d_2").read_bytes() == b"four"
    file = io.BytesIO()
    zips.put(file, b"five")
    assert file.getvalue() == b"five"


@pytest.mark.parametrize("name", ["model", "model.zip"])
def test_a_new_one_takes_the_place_of_the_old_one_behind_links_and_with_its_rights(tmp_path: Path, name: str) -> None:
    real = tmp_path / "real.zip"
    zips.put(real, b"old")
    real.chmod(0o640)
    (tmp_path / "model.zip").symlink_to(real)
    with real.open("rb") as reader:
        zips.put(tmp_path / name, b"new")
        assert reader.read() == b"old"  # who had it open has it whole
    assert (tmp_path / "model.zip").is_symlink()
    assert real.read_bytes() == b"new"
    assert real.stat().st_mode & 0o777 == 0o640
    assert {path.name for path in tmp_path.iterdir()} == {"real.zip", "model.zip"}


def test_a_full_disk_leaves_the_old_one_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zips.put(tmp_path / "model", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        zips.put(tmp_path / "model", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"model.zip": b"old"}


def test_where_nothing_may_be_put_beside_it_it_is_written_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zips.put(tmp_path / "model", b"a longer old one")

    def refused(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refused)
    zips.put(tmp_path / "model", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"model.zip": b"new"}


def test_an_agent_that_cannot_be_pickled_leaves_the_old_zip(tmp_path: Path) -> None:
    model: Any = PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, device="cpu")
    model.save(tmp_path / "model")
    before = (tmp_path / "model.zip").read_bytes()

    class Refuses:
        def __reduce__(self) -> Any:
            raise TypeError("holds a camera")

    model.camera = Refuses()
    with pytest.raises(TypeError, match="holds a camera"):
        model.save(tmp_path / "model")
    assert (tmp_path / "model.zip").read_bytes() == before
    assert PPO.load(tmp_path / "model", device="cpu").num_timesteps == 0
