"""Products of small matrices in registers, for `agents.speed.kernels`: of float32, or of bfloat16, two at once.

A *word* is 32 bits: a float, or two of bfloat16 that are multiplied and added up together. Words are held in flat
arrays of float32, whatever they are; a *kind* is any array that says which, of float32 or of int16. Nothing is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features

from agents.speed.floats import FLOATS
from agents.speed.vectors import LANES, intrinsic

PANEL = 2 * LANES
"""Columns of a product that are made together."""
TALL = 8
"""Rows that are: as many sums, and what they are made of, as the registers hold."""
_FLOAT, _INT = ir.FloatType(), ir.IntType(32)
_FLOATS, _INTS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT, LANES)


def has_registers() -> bool:
    """Whether the sums of `TALL` rows and a panel stay in the CPU's registers; else torch's products are faster."""
    return _has("avx512f")


def has_pairs() -> bool:
    """Whether what is compiled here may multiply pairs of bfloat16: without the instruction LLVM ends the process."""
    return _has("avx512bf16")


def _has(feature: str) -> bool:
    chosen = config.CPU_NAME or config.CPU_FEATURES is not None  # type: ignore[attr-defined]
    used = get_host_cpu_features()  # type: ignore[no-untyped-call]  # numba's, without what NUMBA_ENABLE_AVX=0 leaves out
    return not chosen and f"+{feature}" in used.split(",")


class _Half(ir.Type):  # type: ignore[misc]
    """bfloat16, which llvmlite has no name for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Half)

    def __hash__(self) -> int:
        return hash(_Half)


_HALVES = ir.VectorType(_Half(), 2 * LANES)


def _same(value: int) -> Any:
    return ir.Constant(_INTS, [value] * LANES)


def _are_pairs(kind: Any) -> bool:
    return bool(kind.dtype == types.int16)


@intrinsic
def per_word(_typing: Any, kind: Any) -> Any:
    """How many numbers a word has."""
    count = 2 if _are_pairs(kind) else 1

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_constant(types.intp, count)

    return types.intp(kind), generate


@intrinsic
def fold(_typing: Any, kind: Any, one: Any, other: Any) -> Any:
    """Sixteen words: of bfloat16 of both, the first ones in front; of float32 they are `one`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, *pair = arguments
        if not _are_pairs(signature.args[0]):
            return pair[0]
        halves = []
        for floats in pair:
            bits = builder.bitcast(floats, _INTS)
            odd = builder.and_(builder.lshr(bits, _same(16)), _same(1))  # of two as near the even one is taken
            halves.append(builder.add(bits, builder.add(odd, _same(0x7FFF))))
        low, high = builder.lshr(halves[0], _same(16)), builder.and_(halves[1], _same(0xFFFF0000))
        return builder.bitcast(builder.or_(low, high), _FLOATS)

    return FLOATS(kind, FLOATS, FLOATS), generate


def _multiplying(rows: int) -> Callable[..., Any]:
    """Products of so many rows of words with a panel of columns."""

    @intrinsic
    def multiply(
        _typing: Any, kind: Any, out: Any, to: Any, left: Any, at: Any, row: Any, step: Any, right: Any, begin: Any,
        count: Any,
    ) -> Any:  # fmt: skip
        number = types.intp
        signature = types.void(kind, out, number, left, number, number, number, right, number, number)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds, (_, _, to, _, at, row, step, _, begin, count) = signature.args, arguments
            out, left, right = (
                context.make_array(kinds[place])(context, builder, arguments[place]).data for place in (1, 3, 7)
            )

            def vector(data: Any, place: Any, further: int) -> Any:
                where = builder.gep(data, [builder.add(place, ir.Constant(place.type, further))])
                return builder.bitcast(where, _FLOATS.as_pointer())

            zeros = ir.Constant(_FLOATS, [0.0] * LANES)
            halves = range(0, PANEL, LANES)
            sums = [[_variable(builder, zeros) for _ in halves] for _ in range(rows)]
            begins = [builder.add(at, builder.mul(row, ir.Constant(row.type, each))) for each in range(rows)]
            with cgutils.for_range(builder, count) as loop:
                place = builder.add(begin, builder.mul(loop.index, ir.Constant(begin.type, PANEL)))
                columns = [builder.load(vector(right, place, further), align=4) for further in halves]
                moved = builder.mul(loop.index, step)
                for number in range(rows):
                    word = builder.load(builder.gep(left, [builder.add(begins[number], moved)]))
                    first = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), word, _INT(0))
                    words = builder.shuffle_vector(first, first, _same(0))
                    for held, column in zip(sums[number], columns, strict=True):
                        added = _added(builder, kinds[0], builder.load(held), words, column)
                        builder.store(added, held)
            for number in range(rows):
                for held, further in zip(sums[number], halves, strict=True):
                    builder.store(builder.load(held), vector(out, to, number * PANEL + further), align=4)
            return context.get_dummy_value()

        return signature, generate

    return multiply


def _variable(builder: Any, value: Any) -> Any:
    return cgutils.alloca_once_value(builder, value)  # type: ignore[no-untyped-call]


def _added(builder: Any, kind: Any, total: Any, one: Any, other: Any) -> Any:
    """The products of two vectors of words, added to sums."""
    if _are_pairs(kind):
        name, vectors = f"llvm.x86.avx512bf16.dpbf16ps.{32 * LANES}", _HALVES
        given = [total, builder.bitcast(one, vectors), builder.bitcast(other, vectors)]
    else:
        name, vectors, given = f"llvm.fmuladd.v{LANES}f32", _FLOATS, [one, other, total]
    declared = ir.FunctionType(_FLOATS, [_FLOATS, vectors, vectors])
    function = cgutils.get_or_insert_function(builder.module, declared, name)  # type: ignore[no-untyped-call]
    return builder.call(function, given)


multiply_tall, multiply_one = _multiplying(TALL), _multiplying(1)
"""``out[to + 32 i + j] = sum(left[at + row i + step k] . right[begin + 32 k + j] for k in range(count))``, of words,
for j below 32 and i below `TALL`, or of one row alone."""
