"""Sixteen floats at once, for `agents.speed.kernels`: LLVM makes none of loops over arrays that might overlap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic as typed_intrinsic

LANES = 16
_VECTOR = ir.VectorType(ir.FloatType(), LANES)


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """numba's decorator; who calls it gives all arguments but the first."""
    return cast(Callable[..., Any], typed_intrinsic(function))


def _pointer(context: Any, builder: Any, kind: Any, array: Any, offset: Any) -> Any:
    """To the vector that begins at an offset of a contiguous array of float32."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), _VECTOR.as_pointer())


def _load(builder: Any, pointer: Any) -> Any:
    return builder.load(pointer, align=4)


@intrinsic
def add(_typing: Any, target: Any, at: Any, source: Any, offset: Any) -> Any:
    """``target[at : at + 16] += source[offset : offset + 16]``, of flat arrays; nothing is checked."""
    signature = types.void(target, types.intp, source, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to = _pointer(context, builder, signature.args[0], *arguments[:2])
        added = _pointer(context, builder, signature.args[2], *arguments[2:])
        builder.store(builder.fadd(_load(builder, to), _load(builder, added)), to, align=4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def copy(_typing: Any, target: Any, at: Any, source: Any, offset: Any) -> Any:
    """``target[at : at + 16] = source[offset : offset + 16]``, of flat arrays; nothing is checked."""
    signature = types.void(target, types.intp, source, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to = _pointer(context, builder, signature.args[0], *arguments[:2])
        builder.store(_load(builder, _pointer(context, builder, signature.args[2], *arguments[2:])), to, align=4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def transpose(_typing: Any, target: Any, at: Any, step: Any, source: Any, offset: Any, stride: Any) -> Any:
    """``target[at + step * i + j] = source[offset + stride * j + i]`` for i and j below 16; nothing is checked."""
    signature = types.void(target, types.intp, types.intp, source, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to, at, step, given, offset, stride = arguments
        kinds = signature.args

        def place(kind: Any, array: Any, begin: Any, apart: Any, number: int) -> Any:
            beyond = builder.mul(apart, ir.Constant(apart.type, number))
            return _pointer(context, builder, kind, array, builder.add(begin, beyond))

        rows = [_load(builder, place(kinds[3], given, offset, stride, number)) for number in range(LANES)]
        for row, transposed in enumerate(_transposed(builder, rows)):
            builder.store(transposed, place(kinds[0], to, at, step, row), align=4)
        return context.get_dummy_value()

    return signature, generate


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """The columns of 16 vectors: blocks off the diagonal change places, of half the size at each stage."""
    for half in (1, 2, 4, 8):
        for first in range(LANES):
            if not first & half:
                pair = rows[first], rows[first + half]
                low = [lane if not lane & half else LANES + lane - half for lane in range(LANES)]
                high = [lane + half if not lane & half else LANES + lane for lane in range(LANES)]
                rows[first] = builder.shuffle_vector(*pair, _mask(low))
                rows[first + half] = builder.shuffle_vector(*pair, _mask(high))
    return rows


def _mask(lanes: list[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), LANES), lanes)
