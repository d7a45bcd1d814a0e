"""A nested state as JSON and blocks of memory, and back."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

State: TypeAlias = Any
"""What a part of a checkpoint may hold; see `encode`."""

Fill: TypeAlias = Callable[[memoryview], None]
"""Reads the next bytes of a file, as many as fit."""

CHUNK = 1 << 20  # bytes in hand at a time: what is packed and summed is still in the cache when it is written
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
        spans = [(size - 1) * stride for size, stride in zip(self.array.shape, self.array.strides, strict=True)]
        first, last = sum(min(span, 0) for span in spans), sum(max(span, 0) for span in spans)
        return self.start + first, self.start + last + self.array.itemsize


def encode(state: State) -> tuple[dict[str, Any], list[Block]]:
    """Take a state apart, without copying its memory.

    Arrays that share memory share a block, and come back sharing it.

    Args:
        state: None, bool, int, float, str, numpy's scalars and arrays of any dtype but object, dense tensors of any
            device, and dicts (keys: str or int), lists and tuples of these. Tuples come back as lists, tensors on the
            CPU and without gradients.

    Returns:
        The structure, which is JSON, and the blocks in the order in which `decode` wants their bytes.

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


def decode(structure: dict[str, Any], size: int, fill: Fill) -> State:
    """Put a state together again.

    Args:
        structure: as `encode` returned it.
        size: of the safetensors file.
        fill: reads that file, from its beginning.

    Raises:
        LookupError, TypeError, ValueError and other errors of values: the structure is none of `encode`.
    """
    stored = sum(-(-size // 8) if bits else size for size, bits in structure["blocks"])
    if size < stored + 8:
        raise ValueError(f"blocks of {stored} bytes in a file of {size}")
    fill(memoryview(start := bytearray(size - stored)))
    if int.from_bytes(start[:8], "little") != len(start) - 8:  # the rest of the header is for other readers
        raise ValueError("no safetensors file of these blocks")
    memory = [_load(size, bits, fill) for size, bits in structure["blocks"]]
    return _build(structure["state"], memory)


def _load(size: int, bits: bool, fill: Fill) -> NDArray[np.uint8]:
    memory = np.empty(size, np.uint8)
    for start in range(0, size, CHUNK):
        piece = memory[start : start + CHUNK]
        if bits:
            packed = np.empty(-(-piece.size // 8), np.uint8)
            fill(packed.data)
            piece[:] = np.unpackbits(packed, count=piece.size)
        else:
            fill(piece.data)
    return memory


def _build(tree: Any, memory: list[NDArray[np.uint8]]) -> State:
    if isinstance(tree, list):
        return [_build(value, memory) for value in tree]
    if not isinstance(tree, dict):
        return tree
    match next(iter(tree.items()), None):
        case "$array", spec:
            return _array(spec, memory)
        case "$scalar", [dtype, content]:
            return np.ndarray((), _dtype(dtype), bytes.fromhex(content))[()]
        case "$float", text:
            return float(text)
        case "$int", text:
            return int(text, 16)
        case "$items", items:
            return {key: _build(value, memory) for key, value in items}
    return {key.removeprefix("$"): _build(value, memory) for key, value in tree.items()}


def _array(spec: dict[str, Any], memory: list[NDArray[np.uint8]]) -> NDArray[Any] | torch.Tensor:
    dtype, shape = _dtype(spec["dtype"]), spec["shape"]
    array: NDArray[Any]
    if spec["block"] is None:
        array = np.empty(shape, dtype)
    else:
        # numpy refuses what would reach beyond the block.
        buffer = memory[spec["block"]]
        array = np.ndarray(shape, dtype, buffer=buffer.data, offset=spec["offset"], strides=spec["strides"])
    if "torch" not in spec:
        return array
    tensor, wanted = torch.from_numpy(array), getattr(torch, spec["torch"])
    return tensor if tensor.dtype == wanted else tensor.view(dtype=wanted)


def _dtype(text: str) -> np.dtype[Any]:
    description: Any = ast.literal_eval(text) if text.startswith("[") else text
    dtype = np.lib.format.descr_to_dtype(description)
    if dtype.hasobject:  # its bytes would be taken for addresses
        raise ValueError("an array of objects")
    return dtype


def _dtype_text(dtype: np.dtype[Any], path: str) -> str:
    if not dtype.hasobject:
        description: Any = np.lib.format.dtype_to_descr(dtype)
        text = description if isinstance(description, str) else repr(description)
        if _dtype(text) == dtype:
            return text
    raise TypeError(f"{path or 'state'} is an array of dtype {dtype}, which cannot be stored; give numbers or text")


class _Taker:
    """Walks through a state and collects its arrays."""

    def __init__(self) -> None:
        self._leaves: dict[tuple[Any, ...], _Leaf] = {}
        self._moved: dict[tuple[torch.device, int], torch.UntypedStorage] = {}

    def take(self, value: State, path: str) -> Any:
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
                return self._mapping(value, path)
            case list() | tuple():
                return [self.take(item, f"{path}/{index}" if path else str(index)) for index, item in enumerate(value)]
        raise TypeError(
            f"{path or 'state'} is a {type(value).__name__}, which cannot be stored; "
            "give None, bool, int, float, str, arrays, tensors, and dicts and lists of these"
        )

    def _mapping(self, mapping: Mapping[Any, State], path: str) -> dict[str, Any]:
        for key in mapping:
            if type(key) not in (str, int):
                raise TypeError(f"{path or 'state'} has the key {key!r}, which cannot be stored; give str or int")
        items = {key: self.take(value, f"{path}/{key}" if path else str(key)) for key, value in mapping.items()}
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
        spec = {"block": None, "offset": 0, "dtype": dtype, "shape": list(array.shape), "strides": None}
        if array.nbytes:
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
        names = {"__metadata__"}  # which safetensors keeps for itself
        for index, (block, specs) in enumerate(found):
            while block.name in names:
                block.name += "'"
            names.add(block.name)
            for spec in specs:
                spec["block"] = index
        return [block for block, _ in found]


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
