"""A nested state as JSON and blocks of memory; `crl.storage.decoding` puts it together again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crl.storage.decoding import CHUNK, MAX_DEPTH, SHARED, SPARE, State, dtype_of, reach

INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # for dtypes that numpy does not know
HEADER_NAMES = {  # as safetensors calls them
    **{"|b1": "BOOL", "|u1": "U8", "|i1": "I8", "<u2": "U16", "<i2": "I16", "<u4": "U32", "<i4": "I32"},
    **{"<u8": "U64", "<i8": "I64", "<f2": "F16", "<f4": "F32", "<f8": "F64", "bfloat16": "BF16"},
}


@dataclass
class Block:
    """One stretch of memory, which is one entry of a safetensors file."""

    name: str
    memory: NDArray[np.uint8]
    bits: bool
    """Whether it is stored as one bit per byte."""
    dtype: str = "U8"
    shape: tuple[int, ...] = ()
    alignment: int = 1

    @property
    def stored(self) -> int:
        """Bytes that it takes in the file."""
        return -(-self.memory.size // 8) if self.bits else self.memory.size

    def pieces(self) -> Iterator[memoryview]:
        """What is stored, in handy amounts."""
        step = CHUNK * 8 if self.bits else CHUNK
        for start in range(0, self.memory.size, step):
            piece = self.memory[start : start + step]
            yield (np.packbits(piece) if self.bits else piece).data


@dataclass
class _Leaf:
    """An array of the state, under all the names that it has there."""

    name: str
    array: NDArray[Any]
    dtype: str
    specs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def start(self) -> int:
        return int(self.array.__array_interface__["data"][0])

    def bounds(self) -> tuple[int, int]:
        first, last = reach(self.array.shape, self.array.strides, self.array.itemsize)
        return self.start - first, self.start + last


def encode(state: State) -> tuple[dict[str, Any], list[Block]]:
    """Take a state apart, without copying its memory.

    Arrays that share memory share a block, and come back sharing it; one whose own elements share memory, as
    broadcasting makes them, comes back with memory for each.

    Args:
        state: None, bool, int, float, str, numpy's scalars and arrays of any dtype but object, dense tensors of any
            device, and dicts (keys: str or int), lists and tuples of these. Tuples come back as lists, tensors on the
            CPU and without gradients.

    Returns:
        The structure, which is JSON, and the blocks in the order in which `crl.storage.decoding.decode` wants their
        bytes.

    Raises:
        TypeError: it holds something else; the message says where.
    """
    taker = _Taker()
    tree = taker.take(state, "")
    blocks = taker.blocks()
    return {"state": tree, "blocks": [[block.memory.size, block.bits] for block in blocks]}, blocks


def header(blocks: list[Block]) -> bytes:
    """What a safetensors file of these blocks begins with."""
    entries, end = {}, 0
    for block in blocks:
        start, end = end, end + block.stored
        shape = [block.stored] if block.dtype == "U8" else block.shape
        entries[block.name] = {"dtype": block.dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _dtype_text(dtype: np.dtype[Any], path: str) -> str:
    if not dtype.hasobject:
        description: Any = np.lib.format.dtype_to_descr(dtype)
        text = description if isinstance(description, str) else repr(description)
        with suppress(ValueError):
            if dtype_of(text) == dtype:
                return text
    raise TypeError(f"{path or 'state'} is an array of dtype {dtype}, which cannot be stored; give numbers or text")


class _Taker:
    """Walks through a state and collects its arrays."""

    def __init__(self) -> None:
        self._leaves: dict[tuple[Any, ...], _Leaf] = {}
        self._moved: dict[tuple[torch.device, int], torch.UntypedStorage] = {}

    def take(self, value: State, path: str, levels: int = MAX_DEPTH) -> Any:
        if levels == 0 and isinstance(value, Mapping | list | tuple):
            raise TypeError(f"{path} is nested more than {MAX_DEPTH} levels deep, or contains itself; make it flatter")
        match value:
            case np.ndarray():
                return self._spec(value, path)
            case torch.Tensor():
                spec = self._spec(self._numpy(value, path), path)
                spec["$array"]["torch"] = str(value.dtype).removeprefix("torch.")
                return spec
            case np.generic():  # before float and str, which some of them are too
                return {"$scalar": [_dtype_text(value.dtype, path), value.tobytes().hex()]}
            case None | bool() | str():
                return value
            case int():  # JSON's readers limit the digits
                return value if abs(value) < 2**63 else {"$int": hex(value)}
            case float():
                return value if math.isfinite(value) else {"$float": repr(value)}
            case Mapping():
                return self._mapping(value, path, levels - 1)
            case list() | tuple():
                names = [f"{path}/{index}" if path else str(index) for index in range(len(value))]
                return [self.take(item, name, levels - 1) for name, item in zip(names, value, strict=True)]
        raise TypeError(
            f"{path or 'state'} is a {type(value).__name__}, which cannot be stored; "
            "give None, bool, int, float, str, arrays, tensors, and dicts and lists of these"
        )

    def _mapping(self, mapping: Mapping[Any, State], path: str, levels: int) -> dict[str, Any]:
        for key in mapping:
            if type(key) not in (str, int):
                raise TypeError(f"{path or 'state'} has the key {key!r}, which cannot be stored; give str or int")
        items = {key: self.take(value, f"{path}/{key}" if path else str(key), levels) for key, value in mapping.items()}
        if any(isinstance(key, int) for key in items):
            return {"$items": list(items.items())}
        return {f"${key}" if key.startswith("$") else key: value for key, value in items.items()}

    def _numpy(self, tensor: torch.Tensor, path: str) -> NDArray[Any]:
        """The same memory as an array; what lies on a device is moved storage by storage."""
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
            raise TypeError(f"{path or 'state'} is a tensor that is not dense, which cannot be stored; give it dense")
        tensor = tensor.detach().resolve_conj().resolve_neg()
        if tensor.device.type != "cpu":
            storage = tensor.untyped_storage()
            place = (tensor.device, storage.data_ptr())
            if place not in self._moved:
                self._moved[place] = storage.cpu()
            moved, shape, strides = self._moved[place], tensor.size(), tensor.stride()
            tensor = torch.empty(0, dtype=tensor.dtype).set_(moved, tensor.storage_offset(), shape, strides)
        try:
            return tensor.numpy()
        except TypeError:
            return tensor.view(dtype=INTEGERS[tensor.element_size()]).numpy()

    def _spec(self, array: NDArray[Any], path: str) -> dict[str, Any]:
        dtype = _dtype_text(array.dtype, path)
        if array.size and not array.nbytes:
            raise TypeError(f"{path or 'state'} has elements without bytes, which cannot be stored; leave it out")
        spec = {"block": None, "offset": 0, "dtype": dtype, "shape": list(array.shape), "strides": None}
        if array.nbytes:
            if array.nbytes > sum(reach(array.shape, array.strides, array.itemsize)):
                array = np.ascontiguousarray(array)
            place = (array.__array_interface__["data"][0], dtype, array.shape, array.strides)
            self._leaves.setdefault(place, _Leaf(path or "state", array, dtype)).specs.append(spec)
        return {"$array": spec}

    def blocks(self) -> list[Block]:
        """A block for each stretch of memory, large alignments first; the specs are told where they lie."""
        found: list[tuple[Block, list[dict[str, Any]]]] = []
        for leaves in _groups(self._leaves.values()):
            low = min(leaf.bounds()[0] for leaf in leaves)
            size = max(leaf.bounds()[1] for leaf in leaves) - low
            if size <= sum(leaf.array.nbytes for leaf in leaves):
                found.append((_block(leaves, low, size), _place(leaves, low)))
            else:  # little of much: a column of a large array
                for leaf in leaves:
                    leaf.array = np.ascontiguousarray(leaf.array)
                    found.append((_block([leaf], leaf.start, leaf.array.nbytes), _place([leaf], leaf.start)))
        found.sort(key=lambda pair: -pair[0].alignment)
        self._check_sharing(sum(block.memory.size for block, _ in found))
        names = {"__metadata__"}  # which safetensors keeps for itself
        for index, (block, specs) in enumerate(found):
            while block.name in names:
                block.name += "'"
            names.add(block.name)
            for spec in specs:
                spec["block"] = index
        return [block for block, _ in found]

    def _check_sharing(self, size: int) -> None:
        if sum(leaf.array.nbytes * len(leaf.specs) for leaf in self._leaves.values()) > SHARED * size + SPARE:
            raise TypeError(f"the state has arrays that share their memory more than {SHARED} times; give copies of it")


def _groups(leaves: Iterable[_Leaf]) -> Iterator[list[_Leaf]]:
    """Leaves whose stretches of memory overlap."""
    group: list[_Leaf] = []
    end = 0
    for leaf in sorted(leaves, key=_Leaf.bounds):
        low, high = leaf.bounds()
        if group and low >= end:
            yield group
            group = []
        end = max(end, high) if group else high
        group.append(leaf)
    if group:
        yield group


def _place(leaves: list[_Leaf], low: int) -> list[dict[str, Any]]:
    for leaf in leaves:
        for spec in leaf.specs:
            spec.update(offset=leaf.start - low, strides=list(leaf.array.strides))
    return [spec for leaf in leaves for spec in leaf.specs]


def _block(leaves: list[_Leaf], low: int, size: int) -> Block:
    # Whoever holds the memory must live as long as what looks into it.
    view = {"version": 3, "typestr": "|u1", "shape": (size,), "data": (low, True)}
    memory = np.asarray(SimpleNamespace(__array_interface__=view, owners=[leaf.array for leaf in leaves]))
    block = Block(leaves[0].name, memory, all(leaf.array.dtype == np.bool_ for leaf in leaves))
    leaf = leaves[0]
    torch_dtype = leaf.specs[0].get("torch", "")
    dtype = HEADER_NAMES.get(torch_dtype) or HEADER_NAMES.get(leaf.dtype)
    if len(leaves) == 1 and leaf.array.flags.c_contiguous and dtype and not block.bits:
        block.dtype, block.shape, block.alignment = dtype, leaf.array.shape, leaf.array.itemsize
    return block
