"""States come back exactly: values, arrays and tensors, their types, and what shares memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from stored import nested, same

from crl import storage


def back(tmp_path: Path, state: Any) -> Any:
    storage.write(tmp_path / "1", {"part": state})
    return storage.read(tmp_path / "1")["part"]


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
