"""Sixteen floats at once, for `agents.speed.kernels`: LLVM makes none of loops over arrays that might overlap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as typed_intrinsic

LANES = 16
WIDE = 4
"""Vectors that `gather_wide` takes at once."""
_INT = ir.IntType(32)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INTS = ir.VectorType(_INT, LANES)
_SHORTS = ir.VectorType(ir.IntType(16), LANES)


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """numba's decorator; who calls it gives all arguments but the first."""
    return cast(Callable[..., Any], typed_intrinsic(function))


def _pointer(context: Any, builder: Any, kind: Any, array: Any, offset: Any, vector: Any = _VECTOR) -> Any:
    """To the vector that begins at an offset of a contiguous array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())


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
def add_scaled(_typing: Any, target: Any, at: Any, source: Any, offset: Any, factor: Any) -> Any:
    """``target[at : at + 16] += factor * source[offset : offset + 16]``; nothing is checked."""
    signature = types.void(target, types.intp, source, types.intp, types.float32)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to = _pointer(context, builder, signature.args[0], *arguments[:2])
        row = _load(builder, _pointer(context, builder, signature.args[2], *arguments[2:4]))
        first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), arguments[4], _INT(0))
        factors = builder.shuffle_vector(first, first, _mask([0] * LANES))
        builder.store(builder.fadd(_load(builder, to), builder.fmul(row, factors)), to, align=4)
        return context.get_dummy_value()

    return signature, generate


def _gathering(count: int) -> Callable[..., Any]:
    """Sums of rows of so many vectors, which stay in registers meanwhile."""

    @intrinsic
    def gather(
        _typing: Any, target: Any, at: Any, source: Any, stride: Any, offset: Any, rows: Any, first: Any, end: Any
    ) -> Any:
        signature = types.void(target, types.intp, source, types.intp, types.intp, rows, types.intp, types.intp)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            to, at, given, stride, offset, rows, first, end = arguments
            zeros = _constant(ir.FloatType(), 0.0)
            sums = [cgutils.alloca_once_value(builder, zeros) for _ in range(count)]  # type: ignore[no-untyped-call]
            numbers = context.make_array(signature.args[5])(context, builder, rows).data

            def places(kind: Any, array: Any, begin: Any) -> list[Any]:
                offsets = [builder.add(begin, ir.Constant(begin.type, LANES * number)) for number in range(count)]
                return [_pointer(context, builder, kind, array, each) for each in offsets]

            with cgutils.for_range_slice(builder, first, end, ir.Constant(first.type, 1)) as (number, _):
                row = builder.sext(builder.load(builder.gep(numbers, [number])), stride.type)
                begin = builder.add(builder.mul(row, stride), offset)
                for held, place in zip(sums, places(signature.args[2], given, begin), strict=True):
                    builder.store(builder.fadd(builder.load(held), _load(builder, place)), held)
            for held, place in zip(sums, places(signature.args[0], to, at), strict=True):
                builder.store(builder.fadd(_load(builder, place), builder.load(held)), place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return gather


gather, gather_wide = _gathering(1), _gathering(WIDE)
"""``target[at : at + 16] += sum(source[stride * r + offset : ... + 16] for r in rows[first:end])``, summed up in that
order before it is added, of 16 numbers and of `WIDE` times as many; `rows` are int32, and nothing is checked."""


@intrinsic
def tanh(_typing: Any, target: Any, at: Any) -> Any:
    """The hyperbolic tangents of ``target[at : at + 16]``, in their place, within 3e-7; nothing is checked."""
    signature = types.void(target, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to = _pointer(context, builder, signature.args[0], *arguments)
        builder.store(hyperbolic_tangents(builder, _load(builder, to)), to, align=4)
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
def join(_typing: Any, target: Any, at: Any, source: Any, offset: Any, other: Any, begin: Any) -> Any:
    """``target[at : at + 16] = source[offset : offset + 16] + other[begin : begin + 16]``; nothing is checked."""
    signature = types.void(target, types.intp, source, types.intp, other, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(*_sum(context, builder, signature, arguments), align=4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def join_rectified(_typing: Any, target: Any, at: Any, source: Any, offset: Any, other: Any, begin: Any) -> Any:
    """As `join`, of sums above 0, else 0; what is no number stays so."""
    signature = types.void(target, types.intp, source, types.intp, other, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found, to = _sum(context, builder, signature, arguments)
        zeros = _constant(ir.FloatType(), 0.0)
        builder.store(builder.select(builder.fcmp_unordered(">", found, zeros), found, zeros), to, align=4)
        return context.get_dummy_value()

    return signature, generate


def _sum(context: Any, builder: Any, signature: Any, arguments: Any) -> tuple[Any, Any]:
    """Of two vectors, and where it goes."""
    to, *pair = (_pointer(context, builder, signature.args[i], *arguments[i : i + 2]) for i in (0, 2, 4))
    return builder.fadd(*(_load(builder, each) for each in pair)), to


@intrinsic
def transpose(_typing: Any, target: Any, at: Any, step: Any, source: Any, offset: Any, stride: Any) -> Any:
    """``target[at + step * i + j] = source[offset + stride * j + i]`` for i and j below 16; nothing is checked."""
    signature = types.void(target, types.intp, types.intp, source, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to, at, step, given, offset, stride = arguments
        pointers = _places(context, builder, signature.args[3], given, offset, stride)
        rows = [_load(builder, pointer) for pointer in pointers]
        places = _places(context, builder, signature.args[0], to, at, step)
        for transposed, place in zip(_transposed(builder, rows), places, strict=True):
            builder.store(transposed, place, align=4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def transpose_rectified(_typing: Any, target: Any, at: Any, step: Any, source: Any, offset: Any, stride: Any) -> Any:
    """As `transpose`, of what is above 0, else 0, rounded to bfloat16, whose bits the int16 of `target` hold."""
    signature = types.void(target, types.intp, types.intp, source, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to, at, step, given, offset, stride = arguments
        zeros, ones = _constant(ir.FloatType(), 0.0), _constant(_INT, 1)
        rows = []
        for pointer in _places(context, builder, signature.args[3], given, offset, stride):
            row = _load(builder, pointer)
            rows.append(builder.select(builder.fcmp_ordered(">", row, zeros), row, zeros))
        places = _places(context, builder, signature.args[0], to, at, step, _SHORTS)
        for transposed, place in zip(_transposed(builder, rows), places, strict=True):
            bits = builder.bitcast(transposed, _INTS)
            odd = builder.and_(builder.lshr(bits, _constant(_INT, 16)), ones)  # of two as near the even one is taken
            rounded = builder.add(bits, builder.add(odd, _constant(_INT, 0x7FFF)))
            upper = builder.trunc(builder.lshr(rounded, _constant(_INT, 16)), _SHORTS)
            builder.store(upper, place, align=2)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def transpose_where(
    _typing: Any, target: Any, at: Any, step: Any, source: Any, active: Any, offset: Any, stride: Any
) -> Any:
    """As `transpose`, to float32, of what `source` holds where `active` is not 0 or less, else 0.

    Both are float32, or int16 with the bits of bfloat16, of which `active` is never below 0.
    """
    signature = types.void(target, types.intp, types.intp, source, active, types.intp, types.intp)
    half, zeros = source.dtype == types.int16, _constant(ir.FloatType(), 0.0)
    kind = _SHORTS if half else _VECTOR

    def number(builder: Any, pointer: Any) -> Any:
        if not half:
            return _load(builder, pointer)
        upper = builder.zext(builder.load(pointer, align=2), _INTS)
        return builder.bitcast(builder.shl(upper, _constant(_INT, 16)), _VECTOR)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to, at, step, given, active, offset, stride = arguments
        kinds, rows = signature.args, []
        gradients = _places(context, builder, kinds[3], given, offset, stride, kind)
        actives = _places(context, builder, kinds[4], active, offset, stride, kind)
        for gradient, unit in zip(gradients, actives, strict=True):
            is_active = builder.fcmp_unordered(">", number(builder, unit), zeros)
            rows.append(builder.select(is_active, number(builder, gradient), zeros))
        places = _places(context, builder, kinds[0], to, at, step)
        for transposed, place in zip(_transposed(builder, rows), places, strict=True):
            builder.store(transposed, place, align=4)
        return context.get_dummy_value()

    return signature, generate


def hyperbolic_tangents(builder: Any, x: Any) -> Any:
    """Of 16 floats, within 3e-7.

    Lambert's continued fraction at a quarter of each number, where it is short, and twice ``2 t / (1 + t^2)``.
    """

    def number(value: float) -> Any:
        return _constant(ir.FloatType(), value)

    def polynomial(x: Any, *coefficients: float) -> Any:
        found = number(coefficients[0])
        for coefficient in coefficients[1:]:
            found = builder.fadd(builder.fmul(found, x), number(coefficient))
        return found

    x = builder.fmul(x, number(0.25))
    for sign, bound in ((">", 2.25), ("<", -2.25)):  # what is no number stays so
        x = builder.select(builder.fcmp_ordered(sign, x, number(bound)), number(bound), x)
    square = builder.fmul(x, x)
    above = builder.fmul(x, polynomial(square, 1, 378, 17325, 135135))
    x = builder.fdiv(above, polynomial(square, 28, 3150, 62370, 135135))
    for _ in range(2):
        x = builder.fdiv(builder.fadd(x, x), builder.fadd(builder.fmul(x, x), number(1)))
    return x


def _places(
    context: Any, builder: Any, kind: Any, array: Any, begin: Any, apart: Any, vector: Any = _VECTOR
) -> list[Any]:
    """Pointers to 16 vectors of an array, so far apart."""
    found = []
    for number in range(LANES):
        offset = builder.add(begin, builder.mul(apart, ir.Constant(apart.type, number)))
        found.append(_pointer(context, builder, kind, array, offset, vector))
    return found


def _constant(kind: Any, value: float) -> Any:
    return ir.Constant(ir.VectorType(kind, LANES), [value] * LANES)


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
