"""Checkpoint folders: states come back exactly, folders are whole or not there, and damage is found."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from crl import storage
from crl.storage import DamagedError, Manifest

ROOT = Path(__file__).parents[2]


def back(tmp_path: Path, state: Any) -> Any:
    storage.write(tmp_path / "1", {"part": state})
    return storage.read(tmp_path / "1")["part"]


def same(found: Any, expected: Any) -> bool:
    """Equal in value, type and dtype, and in every bit of floats."""
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(same(found[key], value) for key, value in expected.items())
    if isinstance(expected, list | tuple):
        return type(found) is list and len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, np.ndarray | np.generic):
        alike = type(found) is type(expected) and found.dtype == expected.dtype and found.shape == expected.shape
        return alike and found.tobytes() == expected.tobytes()
    if isinstance(expected, torch.Tensor):
        alike = type(found) is torch.Tensor and found.dtype == expected.dtype and found.shape == expected.shape
        if not alike or not expected.numel():
            return alike
        raw = [tensor.detach().resolve_conj().contiguous().flatten().view(torch.uint8) for tensor in (found, expected)]
        return torch.equal(*raw)
    return type(found) is type(expected) and repr(found) == repr(expected)


VALUES = [
    *[None, True, False, 0, -1, 2**63, -(2**63), 2**64, -(2**128) - 1, 16**5000],
    *[0.0, -0.0, 0.1, 1e300, 5e-324, math.inf, -math.inf, math.nan],
    *["", "text", 'quo"te\n', "\0", "ä\udc80", "$array", "nan"],
    *[[], {}, [[], [{}]], (1, (2,)), {"$array": 1, "$": 2, "$$": 3}, {"a b": {"/": 1}}, {0: "int", "0": "str"}],
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20] if value != 16**5000 else "huge")
def test_plain_values_come_back_exactly(value: Any, tmp_path: Path) -> None:
    if value == 16**5000:
        assert back(tmp_path, value) == value
    else:
        assert same(back(tmp_path, {"it": value})["it"], value)


ARRAYS = [
    *[np.arange(6).reshape(2, 3).astype(kind) for kind in "?bBhHiIqQefdgFD"],
    *[np.arange(3, dtype=kind) for kind in (">f4", ">i8", "m8[s]")],
    np.array(["2026-01-02", "NaT"], "M8[D]"),
    np.array(["one", "three"]),
    np.array([b"a", b"\0b"]),
    np.array([(1, 2.5, [1, 2])], np.dtype([("a b", "i1"), ("x", "<f8"), ("v", "<u2", (2,))], align=True)),
    np.array(7.5),
    np.empty((0, 3), np.float32),
    np.array([np.nan, -0.0, np.inf], np.float32),
    np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
    np.arange(10)[::-2],
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.broadcast_to(np.float32(3), (4, 5)),
    np.array([[True, False, True]] * 7)[:, ::2],
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_arrays_come_back_exactly(array: np.ndarray[Any, Any], tmp_path: Path) -> None:
    found = back(tmp_path, [array])[0]
    assert same(found, array)
    found[...] = found  # it may be written to


SCALARS = [
    *[np.float32(0.1), np.float64(0.1), np.int8(-3), np.bool_(True)],
    *[np.str_("ä"), np.str_(""), np.datetime64("2026-01-02")],
]


@pytest.mark.parametrize("scalar", SCALARS, ids=repr)
def test_numpys_scalars_keep_their_type(scalar: np.generic, tmp_path: Path) -> None:
    assert same(back(tmp_path, scalar), scalar)


TENSORS = [
    torch.tensor(3.5, dtype=torch.bfloat16),
    torch.empty(0, dtype=torch.int64),
    torch.arange(6.0).reshape(2, 3).T,
    torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    torch.arange(20.0)[::3],
    torch.ones(1).expand(5),
    torch.nn.Parameter(torch.ones(2)),
    torch.tensor([1 + 2j]).conj(),
    torch.rand(9) > 0.5,
]


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda tensor: f"{tensor.dtype}{list(tensor.shape)}")
def test_tensors_come_back_exactly(tensor: torch.Tensor, tmp_path: Path) -> None:
    found = back(tmp_path, {"it": tensor})["it"]
    assert same(found, tensor)
    assert not found.requires_grad


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float16", "complex64", "uint16", "bool"])
def test_every_dtype_of_tensors_comes_back(name: str, tmp_path: Path) -> None:
    dtype = getattr(torch, name)
    assert same(back(tmp_path, torch.arange(5).to(dtype)), torch.arange(5).to(dtype))


def test_the_memory_format_of_a_tensor_comes_back(tmp_path: Path) -> None:
    tensor = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    assert back(tmp_path, tensor).stride() == tensor.stride()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tensors_of_a_device_come_back_on_the_cpu_and_share_memory(tmp_path: Path) -> None:
    base = torch.arange(6.0, device="cuda").reshape(2, 3)
    found = back(tmp_path, {"base": base, "row": base[1], "half": base.bfloat16()})
    assert same(found, {"base": base.cpu(), "row": base[1].cpu(), "half": base.bfloat16().cpu()})
    found["row"].zero_()
    assert found["base"][1].sum() == 0
    assert len(safetensors.torch.load_file(tmp_path / "1" / "part.safetensors")) == 2


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [{1, 2}]}, "a/0 is a set"),
        ({"a": {(1, 2): 3}}, r"a has the key \(1, 2\)"),
        ({True: 3}, "state has the key True"),
        ({"a": b"bytes"}, "a is a bytes"),
        ({"a": np.array([object()])}, "a is an array of dtype object"),
        ({"a": np.array([(1, None)], "i4,O")}, "a is an array of dtype"),
        ({"a": torch.eye(2).to_sparse()}, "a is a tensor that is not dense"),
        ({"a": torch.ones(2, device="meta")}, "a is a tensor that is not dense"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_leaves_nothing(value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=message):
        storage.write(tmp_path / "c" / "1", {"part": value})
    assert list((tmp_path / "c").iterdir()) == []


def test_what_shares_memory_is_stored_once_and_shares_it_again(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    array = base.numpy()
    state = {"base": base, "same": base, "row": base[1], "turned": base.T, "array": array, "other": base.clone()}
    found = back(tmp_path, state)
    assert same(found, state)
    found["row"][0] = -1
    for name in ("base", "same", "array"):
        assert found[name][1, 0] == -1
    assert found["turned"][0, 1] == -1
    assert found["other"][1, 0] == 4
    stored = safetensors.torch.load_file(tmp_path / "1" / "part.safetensors")
    assert {name: tensor.numel() * tensor.itemsize for name, tensor in stored.items()} == {"base": 48, "other": 48}


def test_a_column_of_a_large_array_is_stored_alone(tmp_path: Path) -> None:
    large = np.arange(100_000, dtype=np.int64).reshape(1000, 100)
    state = {"first": large[:, 0], "last": large[:, -1], "again": large[:, 0]}
    assert same(back(tmp_path, state), state)
    assert (tmp_path / "1" / "part.safetensors").stat().st_size < 20_000


def test_the_tensors_are_ordinary_safetensors(tmp_path: Path) -> None:
    state = {
        "flags": np.ones(11, bool),  # 2 bytes, so that what follows would not be aligned
        "net": {"weight": torch.randn(3, 2), "bias": torch.randn(3).bfloat16(), "small": torch.ones(3).to(torch.uint8)},
        "net/weight": torch.zeros(3, dtype=torch.int16),
        "__metadata__": torch.ones(2),
    }
    assert same(back(tmp_path, state), state)
    stored = safetensors.torch.load_file(tmp_path / "1" / "part.safetensors")
    for name, tensor in state["net"].items():
        assert same(stored[f"net/{name}"], tensor)
    assert same(stored["net/weight'"], state["net/weight"])
    assert stored["flags"].tolist() == [255, 224]
    assert "__metadata__'" in stored


@pytest.mark.parametrize("size", [1, 7, 8, 9, 2**20, 2**23 + 3])
def test_booleans_take_a_bit_each(size: int, tmp_path: Path) -> None:
    array = np.random.default_rng(0).random(size) < 0.3
    assert same(back(tmp_path, array), array)
    assert (tmp_path / "1" / "part.safetensors").stat().st_size <= size / 8 + 200


def test_what_shares_memory_with_itself_comes_back_with_its_own(tmp_path: Path) -> None:
    state = {
        "expanded": torch.ones(1).expand(3, 5),
        "windows": np.lib.stride_tricks.sliding_window_view(np.arange(9), 4),
    }
    found = back(tmp_path, state)
    assert same(found, state)
    assert found["expanded"].is_contiguous()
    found["windows"][0, 1] = -1
    assert found["windows"][1, 0] == 1


def test_what_could_not_be_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert back(tmp_path, nested(100)) == nested(100)
    with pytest.raises(TypeError, match="is nested more than 100 levels deep, or contains itself; make it flatter"):
        back(tmp_path, nested(101))
    weight = torch.ones(100_000)
    assert len(back(tmp_path, [weight] * 64)) == 64
    with pytest.raises(TypeError, match="share their memory more than 64 times; give copies of it"):
        back(tmp_path, [weight] * 66)
    monkeypatch.setattr("crl.storage.states.MAX_JSON", 1000)
    with pytest.raises(TypeError, match="and 1,000 can be read; give numbers as arrays"):
        back(tmp_path, ["x" * 1000])


def test_an_optimizers_state_comes_back(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.randn(3))
    optimizer = torch.optim.Adam([weight])
    weight.sum().backward()
    optimizer.step()
    found = back(tmp_path, optimizer.state_dict())
    assert found["state"][0]["step"] == 1
    torch.optim.Adam([weight]).load_state_dict(found)


# Folders


def checkpoints(tmp_path: Path, *steps: int) -> Path:
    folder = tmp_path / "odd [name] with spaces" / "checkpoints"
    for step in steps:
        parts = {"learner": {"step": step, "weight": torch.full((5,), step)}, "replay": {"obs": np.ones(99, bool)}}
        storage.write(folder / str(step), parts, {"config.yaml": "seed: 1\n"})
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


FILES = ["config.yaml", "learner.json", "learner.safetensors", "manifest.json", "replay.json", "replay.safetensors"]


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


def nested(levels: int) -> list[Any]:
    state: list[Any] = []
    for _ in range(levels - 1):
        state = [state]
    return state


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


def test_checkpoints_newer_than_the_one_that_is_gone_on_from_are_set_aside(tmp_path: Path) -> None:
    for name in ("100", "200", "300", "notes"):
        (tmp_path / name).mkdir()
    storage.set_aside(tmp_path, tmp_path / "100")
    names = sorted(path.name.rpartition("-")[0] or path.name for path in tmp_path.iterdir())
    assert names == ["100", "notes", "unused-200", "unused-300"]
    storage.set_aside(tmp_path, None)
    assert not (tmp_path / "100").exists()


# A kill between any two operations on files


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
import sys, itertools
from pathlib import Path
import numpy as np
from crl import storage
folder = Path(sys.argv[1])
first = storage.newest(folder)[0]
for step in itertools.count(int(first.name) + 1 if first else 1):
    storage.write(folder / str(step), {"learner": {"step": step}, "replay": np.full(3_000_000, step)})
    storage.prune(folder, keep=3)
    print(step, flush=True)
"""


def test_real_kills_leave_a_whole_newest_checkpoint(tmp_path: Path) -> None:
    folder, generator, done = tmp_path / "checkpoints", random.Random(0), 0
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert process.stdout is not None
        done = int(process.stdout.readline())
        time.sleep(generator.random() / 5)
        process.send_signal(signal.SIGKILL)
        done = max([done, *map(int, process.stdout.read().split())])
        process.wait()
        process.stdout.close()
        found, passed_over = storage.newest(folder)
        assert passed_over == []
        assert found is not None
        assert int(found.name) >= done
        state = storage.read(found)
        assert state["learner"]["step"] == int(found.name)
        assert (state["replay"] == int(found.name)).all()
