"""Folders of checkpoints are whole or not there, and damage and forgery are found."""

from __future__ import annotations

import json
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored import FILES, HeldError, checkpoints, names, nested, same

from crl import storage
from crl.storage import DamagedError, Manifest
from crl.storage.files import PAUSES, move


def test_a_folder_holds_its_files_and_says_so(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path, 64) / "64"
    assert names(folder) == FILES
    assert names(folder.parent) == ["64"]
    manifest = storage.verify(folder)
    assert (manifest.step, manifest.parts, manifest.dropped) == (64, ["learner", "replay"], [])
    sizes = {name: (folder / name).stat().st_size for name in FILES if name != "manifest.json"}
    assert {name: size for name, (size, _) in manifest.files.items()} == sizes
    assert (folder / "config.yaml").read_text() == "seed: 1\n"
    assert list(storage.read(folder, ["learner"])) == ["learner"]


def test_a_folder_that_is_there_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "best" / "a task"
    for step in (1, 2):
        storage.write(folder, {"policy": {"value": step}}, step=step)
    assert names(folder.parent) == ["a task"]
    assert Manifest.load(folder).step == 2
    assert storage.read(folder) == {"policy": {"value": 2}}


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_name_that_others_hold_is_waited_for(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target, refusals, waited = tmp_path / "new", tmp_path / "old", 3, list[float]()
    if kind == "file":
        target.write_text("old")
        source.write_text("new")
    else:
        source.mkdir()
    way = "replace" if kind == "file" else "rename"
    change = getattr(Path, way)

    def refused(path: Path, to: Path) -> Path:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise HeldError
        found: Path = change(path, to)
        return found

    monkeypatch.setattr("crl.storage.files.time.sleep", waited.append)
    monkeypatch.setattr(Path, way, refused)
    move(source, target)
    assert names(tmp_path) == ["old"]
    assert waited == list(PAUSES[:3])
    refusals = len(PAUSES) + 1
    with pytest.raises(HeldError):
        move(target, source)
    assert 10 < sum(waited[3:]) < 11
    waited.clear()
    with pytest.raises(FileNotFoundError):
        move(tmp_path / "nowhere", source)
    assert waited == []


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoints(tmp_path, 64)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("crl.storage.files.os.fsync", full)
    for step in ("64", "128"):
        with pytest.raises(OSError, match="No space left"):
            storage.write(folder / step, {"learner": 0})
    assert names(folder) == ["64"]
    monkeypatch.undo()
    assert storage.read(folder / "64")["learner"]["step"] == 64


@pytest.mark.parametrize("texts", [{"manifest.json": ""}, {"learner.json": ""}, {"../x": ""}, {".x": ""}])
def test_files_that_would_clash_or_lie_elsewhere_are_refused(texts: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names of their files"):
        storage.write(tmp_path / "1", {"learner": 0}, texts)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_short_long_or_changed_is_named(name: str, tmp_path: Path) -> None:
    folder = checkpoints(tmp_path, 64) / "64"
    path = folder / name
    content = path.read_bytes()
    half = len(content) // 2
    flipped = content[:half] + bytes([content[half] ^ 4]) + content[half + 1 :]
    for damaged in (b"", content[:half], content[:-1], content + b"\0", flipped, bytes(len(content)), None):
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        with pytest.raises(DamagedError) as refusal:
            storage.read(folder)
        assert repr(str(path)) in str(refusal.value)
        assert "\n" not in str(refusal.value)
        path.write_bytes(content)
    path.unlink()
    path.mkdir()
    with pytest.raises(DamagedError, match="cannot be read"):
        storage.read(folder)


def test_no_flipped_bit_goes_unseen(tmp_path: Path) -> None:
    folder = tmp_path / "1"
    state = {"part": {"value": 1.5, "array": np.arange(3.0), "flags": np.ones(9, bool)}}
    storage.write(folder, state, {"text": "a"})
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        for place in range(len(content)):
            path.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
            try:
                found = storage.read(folder)
            except DamagedError:
                continue
            assert path.name == "manifest.json"  # blanks between its entries, say
            assert same(found, state)
        path.write_bytes(content)


def test_another_format_is_refused(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path, 1) / "1"
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(DamagedError, match="is of format 2; this crl reads format 1"):
        storage.read(folder)


@pytest.mark.parametrize(
    "changes",
    [
        *[
            {"files": {name: [1, 1]}}
            for name in ("../1/config.yaml", "/dev/zero", "a\\b", "a:b", "a\0", "\ud800", ".", "")
        ],
        *[{"files": {"learner.json": size}} for size in (["1", 1], [-1, 1], [1.0, 1], [True, 1], 3)],
        *[{"parts": "learner"}, {"parts": ["../learner"]}, {"dropped": [1]}, {"step": "64"}, {"step": -1}, {"more": 1}],
    ],
    ids=str,
)
def test_a_forged_manifest_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    path = checkpoints(tmp_path, 64) / "64" / "manifest.json"
    entries = json.loads(path.read_text()) | changes
    form, _ = entries.pop("format"), entries.pop("checksum")
    checksum = zlib.crc32(json.dumps(entries).encode())
    path.write_text(json.dumps({"format": form, **entries, "checksum": checksum}))
    with pytest.raises(DamagedError, match=r"manifest\.json' is no manifest$"):
        storage.verify(path.parent)


def test_a_manifest_is_short(tmp_path: Path) -> None:
    path = checkpoints(tmp_path, 64) / "64" / "manifest.json"
    os.truncate(path, 1 << 40)
    with pytest.raises(DamagedError, match="has more than the 1,048,576 bytes that crl writes there at most"):
        storage.verify(path.parent)


class Exploit:
    """Leaves a file where its pickle is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("listed", [False, True])
def test_a_planted_pickle_is_not_run(name: str, listed: bool, tmp_path: Path) -> None:
    folder, trace = checkpoints(tmp_path, 64) / "64", tmp_path / "trace"
    content = pickle.dumps(Exploit(trace))
    (folder / name).write_bytes(content)
    if listed and name not in ("manifest.json", "config.yaml"):  # by one who knows how checksums are made
        manifest = Manifest.load(folder)
        manifest.files[name] = (len(content), zlib.crc32(content))
        (folder / "manifest.json").write_bytes(manifest.content())
    with pytest.raises(DamagedError):
        storage.read(folder)
    assert not trace.exists()


def spec(**changes: Any) -> dict[str, Any]:
    """An array as a forger describes it."""
    return {"$array": {"block": 0, "offset": 0, "dtype": "<f4", "strides": None, **changes}}


@pytest.mark.parametrize(
    "state",
    [
        *[{"$array": spec} for spec in (None, {}, {"block": 0, "dtype": "|O", "shape": [1]})],
        {"$array": {"block": 0, "offset": 0, "dtype": "|O", "shape": [1], "strides": [8]}},
        {"$array": {"block": 0, "offset": 0, "dtype": "<f4", "shape": [3], "strides": [4]}},
        {"$array": {"block": 0, "offset": -8, "dtype": "<f4", "shape": [1], "strides": [4]}},
        {"$array": {"block": 0, "offset": 0, "dtype": "<f4", "shape": [2], "strides": [1000]}},
        {"$array": {"block": 0, "offset": 0, "dtype": "<f4", "shape": [1], "strides": [4], "torch": "load"}},
        {"$array": {"block": None, "dtype": "[__import__('os')]", "shape": [0]}},
        *[{"$scalar": ["|O", "00" * 8]}, {"$int": "x"}, {"$float": "x"}, {"$items": 3}, {"$items": [[None, 1]]}],
        # More than there is: 2**64 elements, of which numpy sees none, elements in one place, others before the block.
        *[spec(shape=[2**32, 2**32], strides=[0, 0]), spec(shape=[2**62], strides=[0]), spec(shape=[3], strides=[0])],
        *[spec(shape=[2], strides=[-4]), spec(shape=[-1], strides=[4]), spec(shape=[True], strides=[4])],
        *[spec(offset=2**63, shape=[1], strides=[4]), spec(shape=[1], strides=[4], block=-1)],
        *[spec(shape=[2**40], block=None), spec(shape=[2**40], block=None, dtype="|S0"), spec(shape=[1] * 65)],
        *[spec(shape=[1], strides=[4], torch=name) for name in ("qint8", "float64", "Tensor", None)],
        *[
            spec(shape=[0], block=None, dtype=dtype)
            for dtype in (None, "a5", "[('a', '|O')]", "[" * 9_000, "x" * 20_000)
        ],
        *[spec(shape=[1], strides=[1], dtype="('|u1', (1000000,))"), nested(101)],
        [spec(shape=[2], strides=[4])] * 8300,  # each of 8 bytes, and copied each for itself
    ],
    ids=lambda state: str(state)[:60],
)
def test_a_forged_structure_is_refused(state: Any, tmp_path: Path) -> None:
    folder = tmp_path / "1"
    storage.write(folder, {"part": np.arange(2, dtype=np.float32)})
    content = json.dumps({"state": state, "blocks": [[8, False]]}).encode()
    (folder / "part.json").write_bytes(content)
    manifest = Manifest.load(folder)
    manifest.files["part.json"] = (len(content), zlib.crc32(content))
    (folder / "manifest.json").write_bytes(manifest.content())
    with pytest.raises(DamagedError, match=r"part\.safetensors' does not hold what 'part\.json' describes"):
        storage.read(folder)
