"""Sixteen floats as one value of compiled loops, which stays in a register: `agents.speed.vectors` works in memory.

In memory they are float32, or int16 with the bits of bfloat16. Arrays are flat and contiguous; nothing is checked.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from agents.speed.vectors import LANES, hyperbolic_tangents, intrinsic

_FLOAT, _INT, _SHORT = ir.FloatType(), ir.IntType(32), ir.IntType(16)
_FLOATS, _INTS, _SHORTS = (ir.VectorType(each, LANES) for each in (_FLOAT, _INT, _SHORT))


class _Floats(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Floats")


FLOATS = _Floats()


@register_model(_Floats)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _FLOATS)  # type: ignore[no-untyped-call]


def _pointer(context: Any, builder: Any, kind: Any, array: Any, offset: Any) -> Any:
    """To 16 numbers of an array, and how they are aligned there."""
    vector, align = (_SHORTS, 2) if kind.dtype == types.int16 else (_FLOATS, 4)
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer()), align


def _same(value: Any, kind: Any = _INT) -> Any:
    return ir.Constant(ir.VectorType(kind, LANES), [value] * LANES)


@intrinsic
def load(_typing: Any, array: Any, at: Any) -> Any:
    """``array[at : at + 16]``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, align = _pointer(context, builder, signature.args[0], *arguments)
        found = builder.load(pointer, align=align)
        if signature.args[0].dtype != types.int16:
            return found
        return builder.bitcast(builder.shl(builder.zext(found, _INTS), _same(16)), _FLOATS)

    return FLOATS(array, types.intp), generate


@intrinsic
def store(_typing: Any, array: Any, at: Any, value: Any) -> Any:
    """``array[at : at + 16] = value``, rounded to what the array holds."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, align = _pointer(context, builder, signature.args[0], *arguments[:2])
        value = arguments[2]
        if signature.args[0].dtype == types.int16:
            bits = builder.bitcast(value, _INTS)
            odd = builder.and_(builder.lshr(bits, _same(16)), _same(1))  # of two as near the even one is taken
            rounded = builder.add(bits, builder.add(odd, _same(0x7FFF)))
            value = builder.trunc(builder.lshr(rounded, _same(16)), _SHORTS)
        builder.store(value, pointer, align=align)
        return context.get_dummy_value()

    return types.void(array, types.intp, FLOATS), generate


@intrinsic
def spread(_typing: Any, number: Any) -> Any:
    """Sixteen times a number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), arguments[0], _INT(0))
        return builder.shuffle_vector(first, first, _same(0))

    return FLOATS(types.float32), generate


@intrinsic
def add(_typing: Any, one: Any, other: Any) -> Any:
    """Their sums."""
    return FLOATS(FLOATS, FLOATS), lambda context, builder, signature, arguments: builder.fadd(*arguments)


@intrinsic
def add_product(_typing: Any, total: Any, one: Any, other: Any) -> Any:
    """``total + one * other``, rounded once where the processor can."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, one, other = arguments
        kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
        name = f"llvm.fmuladd.v{LANES}f32"
        fused = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
        return builder.call(fused, [one, other, total])

    return FLOATS(FLOATS, FLOATS, FLOATS), generate


@intrinsic
def where_positive(_typing: Any, value: Any, active: Any) -> Any:
    """`value` where `active` is above 0 or no number, else 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, active = arguments
        zeros = _same(0.0, _FLOAT)
        return builder.select(builder.fcmp_unordered(">", active, zeros), value, zeros)

    return FLOATS(FLOATS, FLOATS), generate


@intrinsic
def tanh(_typing: Any, value: Any) -> Any:
    """The hyperbolic tangents."""
    return FLOATS(FLOATS), lambda context, builder, signature, arguments: hyperbolic_tangents(builder, *arguments)


@intrinsic
def before_tanh(_typing: Any, gradient: Any, y: Any) -> Any:
    """The gradient before a hyperbolic tangent from that behind it, where `y` is: ``gradient * (1 - y * y)``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        gradient, y = arguments
        slope = builder.fsub(_same(1.0, _FLOAT), builder.fmul(y, y))
        return builder.fmul(gradient, slope)

    return FLOATS(FLOATS, FLOATS), generate


@intrinsic
def total(_typing: Any, value: Any) -> Any:
    """The sum of the sixteen."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = arguments[0]
        for half in (8, 4, 2, 1):
            lanes = ir.Constant(_INTS, [(lane + half) % LANES for lane in range(LANES)])
            value = builder.fadd(value, builder.shuffle_vector(value, value, lanes))
        return builder.extract_element(value, _INT(0))

    return types.float32(FLOATS), generate
