"""A nested state out of JSON and blocks of memory that anybody may have written.

Whatever the two files say, no more than a few times their bytes is taken, nothing beyond a block is looked at, and what
cannot be is an error of values.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

State: TypeAlias = Any
"""What a part of a checkpoint may hold; see `crl.storage.blocks.encode`."""

Fill: TypeAlias = Callable[[memoryview], None]
"""Reads the next bytes of a file, as many as fit."""

CHUNK = 1 << 20  # bytes in hand at a time: what is packed and summed is still in the cache when it is written
MAX_DEPTH = 100  # levels of dicts and lists
MAX_HEADER = 100_000_000  # bytes: what other readers of safetensors take, too
MAX_DIMENSIONS = 64  # numpy's own limit
MAX_DTYPE = 10_000  # characters of a structured one
SHARED, SPARE = 64, 1 << 16
"""All arrays of a state together have at most `SHARED` times the bytes of the memory that they share, and `SPARE`: who
restores a state copies some of them."""

TORCH_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in vars(torch).values()
    if isinstance(dtype, torch.dtype) and not str(dtype).startswith(("torch.q", "torch.bits"))
}


def decode(structure: Any, size: int, fill: Fill) -> State:
    """Put a state together again.

    Args:
        structure: as `crl.storage.blocks.encode` returned it.
        size: of the safetensors file.
        fill: reads that file, from its beginning.

    Raises:
        LookupError, TypeError, ValueError and other errors of values: the structure is none of `encode`.
    """
    blocks = [_block(*block) for block in structure["blocks"]]
    stored = sum(-(-size // 8) if bits else size for size, bits in blocks)
    if not 8 <= size - stored <= MAX_HEADER + 8:
        raise ValueError(f"blocks of {stored} bytes in a file of {size}")
    fill(memoryview(start := bytearray(size - stored)))
    if int.from_bytes(start[:8], "little") != len(start) - 8:  # the rest of the header is for other readers
        raise ValueError("no safetensors file of these blocks")
    memory = [_load(size, bits, fill) for size, bits in blocks]
    return _Builder(memory).build(structure["state"])


def _block(size: Any, bits: Any) -> tuple[int, bool]:
    if type(size) is not int or type(bits) is not bool or size < 0:
        raise ValueError("a block without a size")
    return size, bits


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


class _Builder:
    """Makes a state of its structure.

    Args:
        memory: the blocks.
    """

    def __init__(self, memory: list[NDArray[np.uint8]]) -> None:
        self._memory = memory
        self._left = SHARED * sum(block.size for block in memory) + SPARE

    def build(self, tree: Any, levels: int = MAX_DEPTH) -> State:
        if not isinstance(tree, dict | list):
            return tree
        if levels == 0:
            raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(tree, list):
            return [self.build(value, levels - 1) for value in tree]
        match next(iter(tree.items()), None):
            case "$array", spec:
                return self._array(spec)
            case "$scalar", [dtype, content]:
                return np.ndarray((), dtype_of(dtype), bytes.fromhex(content))[()]
            case "$float", text:
                return float(text)
            case "$int", text:
                return int(text, 16)
            case "$items", items:
                return {_key(key): self.build(value, levels - 1) for key, value in items}
        return {key.removeprefix("$"): self.build(value, levels - 1) for key, value in tree.items()}

    def _array(self, spec: dict[str, Any]) -> NDArray[Any] | torch.Tensor:
        dtype, shape = dtype_of(spec["dtype"]), _sizes(spec["shape"])
        size = math.prod(shape) * dtype.itemsize
        array: NDArray[Any]
        if spec["block"] is None:
            if math.prod(shape):  # numpy makes elements without bytes longer
                raise ValueError(f"{math.prod(shape)} elements of an array in no block")
            array = np.empty(shape, dtype)
        else:
            buffer, offset, strides = self._memory[_index(spec["block"])], spec["offset"], _whole(spec["strides"])
            first, last = reach(shape, strides, dtype.itemsize)
            # Python's numbers do not overflow; what overlaps itself would grow where it is copied.
            if type(offset) is not int or not first <= offset <= buffer.size - last or not 0 < size <= first + last:
                raise ValueError(f"an array reaches out of its block of {buffer.size} bytes")
            array = np.ndarray(shape, dtype, buffer=buffer.data, offset=offset, strides=strides)
        self._left -= size
        if self._left < 0:
            raise ValueError(f"arrays that share their memory more than {SHARED} times")
        return array if "torch" not in spec else _tensor(array, spec["torch"])


def reach(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> tuple[int, int]:
    """Bytes before the first element, and from there on, that an array which has elements reaches over."""
    spans = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
    return -sum(min(span, 0) for span in spans), sum(max(span, 0) for span in spans) + itemsize


def _tensor(array: NDArray[Any], name: str) -> torch.Tensor:
    wanted = TORCH_DTYPES[name]
    tensor = torch.from_numpy(array if array.flags.aligned else array.copy())
    if tensor.dtype == wanted:
        return tensor
    if tensor.dtype.itemsize != wanted.itemsize:
        raise ValueError(f"{name} of {tensor.dtype.itemsize} bytes")
    return tensor.view(dtype=wanted)


def _key(key: Any) -> str | int:
    if type(key) not in (str, int):
        raise TypeError("a key that is neither text nor a whole number")
    return key  # type: ignore[no-any-return]


def _index(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a block that has no number")
    return value


def _whole(values: Any) -> list[int]:
    if not isinstance(values, list) or len(values) > MAX_DIMENSIONS:
        raise TypeError(f"no list of at most {MAX_DIMENSIONS} numbers")
    if any(type(value) is not int or abs(value) >= 2**63 for value in values):
        raise ValueError("no whole numbers of 64 bits")
    return values


def _sizes(values: Any) -> list[int]:
    if any(size < 0 for size in _whole(values)):
        raise ValueError("a negative size")
    return list(values)


@lru_cache(maxsize=256)
def dtype_of(text: str) -> np.dtype[Any]:
    """numpy's dtype of a description; of one with fields, what `repr` gives of it.

    Raises:
        ValueError: it describes none, or one of objects, whose bytes would be taken for addresses.
    """
    if not isinstance(text, str) or len(text) > MAX_DTYPE:
        raise ValueError("no dtype")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy's, on names that it used to have
            description: Any = ast.literal_eval(text) if text.startswith("[") else text
            dtype = np.lib.format.descr_to_dtype(description)
    except (ArithmeticError, LookupError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError, Warning):
        raise ValueError("no dtype that is known") from None
    if dtype.hasobject:
        raise ValueError("an array of objects")
    return dtype
