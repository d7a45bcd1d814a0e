"""Follows hidden units through the steps of a forward to all that reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from agents.plasticity.layers import FOLDING, fold_of
from agents.plasticity.units.builders import (
    ACTIVATIONS,
    NORMS,
    PASSING,
    POINTWISE,
    POOLINGS,
    PRODUCERS,
    normalizes,
    refuse_grouped,
    title,
)
from agents.plasticity.units.steps import DECLARE, Step, Trace, tensors_in
from agents.plasticity.units.values import (
    LINEAR,
    MULTIPLIED,
    OUTSIDE,
    SUMMED,
    TWICE,
    Made,
    Mixture,
    Piece,
    Stage,
    Value,
)

ACTIVATED = frozenset(kind.__name__.lower() for kind in POINTWISE) | {"leaky_relu"}
SAME = frozenset({
    "bfloat16", "clone", "contiguous", "cpu", "cuda", "data", "detach", "double", "float", "half", "requires_grad",
    "to", "type", "type_as",
})  # fmt: skip
DROPOUTS = frozenset({"dropout", "dropout1d", "dropout2d"})
POOLED = frozenset({"adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "max_pool2d"})
SUMS = frozenset({"add", "radd", "sub", "rsub", "subtract"})
PRODUCTS = frozenset({"div", "divide", "mul", "multiply", "neg", "negative", "rmul", "true_divide", "truediv"})
CATS = frozenset({"cat", "concat", "concatenate", "hstack"})
FACTS = frozenset({"device", "dim", "dtype", "len", "ndim", "numel", "shape", "size"})  # of a tensor, not its values


class Flow:
    """The stages of a forward, in order, and all modules with parameters.

    Args:
        name: the network's.
        trace: the forward.

    Raises:
        ValueError: a step is not understood; the message names it.
    """

    def __init__(self, name: str, trace: Trace) -> None:
        self._name = name
        self.stages: list[Stage] = []
        self.made: list[Made] = []
        self._values: dict[Step, Value] = {}
        for step in trace.steps:
            self._values[step] = self._value(step)
        for step in trace.outputs:
            for piece in self._values[step].pieces:
                for stage in piece.stages:
                    stage.put_out = True

    def _value(self, step: Step) -> Value:
        if step.kind == "parameter":
            reason = f"the parameter {step.name} outside of a layer"
            return Value((Piece(Mixture(frozenset(), reason, known=False)),))
        if step.kind == "module":
            return self._through_module(step)
        return self._through_function(step) if step.kind == "function" else OUTSIDE

    def _error(self, text: str) -> ValueError:
        return ValueError(f"{self._name}: {text}")

    def _arguments(self, step: Step) -> list[Value]:
        steps = tensors_in([step.args, dict(step.kwargs)], Step)
        return [self._values.get(each, OUTSIDE) for each in steps]

    # ------------------------------------------------------------------ modules

    def _through_module(self, step: Step) -> Value:
        module = step.module
        assert module is not None
        if any(module is made.module for made in self.made):
            raise self._error(f"{step.name}, {title(module)}, runs twice in a forward; give each place its own")
        arguments = self._arguments(step)
        value = arguments[0] if arguments else OUTSIDE
        if type(module) in PRODUCERS:
            return self._produce(step, module, value)
        if type(module) in NORMS:
            return self._normalize(step, module, value)
        if type(module) in ACTIVATIONS and type(module) not in FOLDING:
            return _activated(value, str(module))
        if type(module) in FOLDING and len(value.pieces) == 1 and not value.is_mixed and value.pieces[0].fold == 1:
            return _folded(_activated(value, str(module)), fold_of(module))
        if type(module) in PASSING:
            return value if type(module) is nn.Identity else value.turned(step)
        if type(module) in POOLINGS and value.is_map:
            return value.turned(str(module))
        if isinstance(module, nn.Flatten):
            return self._flatten(step, value, module.start_dim, module.end_dim)
        return self._mixed(step, arguments, known=False, reason=f"what {title(module)} makes")

    def _produce(self, step: Step, module: nn.Module, value: Value) -> Value:
        refuse_grouped(self._name, module)
        stage = Stage(step.name, module)
        self.stages.append(stage)
        self.made.append(stage)
        for made in value.made:
            made.followers.append(stage)
        if value.pieces:
            self._read(stage, value)
        piece = Piece(stage, stage.units)
        return Value((piece,), frozenset({stage}), is_map=isinstance(module, nn.Conv2d))

    def _read(self, reader: Stage, value: Value) -> None:
        inputs = reader.producer.weight.shape[1]
        is_map = isinstance(reader.module, nn.Conv2d)
        if not value.is_mixed and value.is_map != is_map:
            raise self._error(
                f"{reader.path}, {reader.module}, cannot read a map of channels as it is; put a Flatten between a "
                "convolution and a linear layer, and none between two convolutions"
            )
        start = 0
        for piece, width in zip(value.pieces, self._widths(reader, value, inputs), strict=True):
            if isinstance(piece.of, Mixture):
                self._read_mixture(reader, piece.of)
            elif piece.of is not None:
                if not piece.active:
                    piece.of.fixed.append(LINEAR)
                if any(reader is other for other, *_ in piece.of.readers):
                    piece.of.fixed.append(TWICE)
                block = width // (piece.of.units * piece.fold)
                piece.of.readers.append((reader, start, block, piece.fold))
                piece.of.forms.add(piece.form)
            start += width

    def _widths(self, reader: Stage, value: Value, inputs: int) -> list[int]:
        """Columns of each piece; one that is not known has those that the others leave."""
        if value.is_mixed:
            return [inputs]
        unknown = [piece for piece in value.pieces if piece.width is None]
        left = inputs - sum(piece.width or 0 for piece in value.pieces)
        whole = all(not isinstance(p.of, Stage) or left % (p.of.units * p.fold) == 0 for p in unknown)
        if len(unknown) > 1 or left < 0 or (left > 0 and not unknown) or not whole:
            raise self._error(
                f"{reader.path}, {reader.module}, has {inputs} inputs, which cannot be told apart without data; give "
                f"example=, the inputs of one call, or {DECLARE}"
            )
        return [left if piece.width is None else piece.width for piece in value.pieces]

    def _read_mixture(self, reader: Stage, mixture: Mixture) -> None:
        if not mixture.known:
            raise self._error(
                f"{reader.path}, {reader.module}, reads {mixture.reason}, which is not understood; {DECLARE}"
            )
        for stage in mixture.stages:
            stage.fixed.append(mixture.reason)

    def _normalize(self, step: Step, module: nn.Module, value: Value) -> Value:
        made = Made(step.name, module)
        self.made.append(made)
        behind = replace(value, made=value.made | {made})
        if not value.pieces or value.is_mixed:
            return behind
        stage, block = value.pieces[0].of, value.pieces[0].block
        alone = len(value.pieces) == 1 and block == 1
        if alone and isinstance(stage, Stage) and normalizes(module, stage.units, of_map=value.is_map):
            stage.norms.append(module)
            return behind.turned(step.name)
        reason = f"{step.name} normalises it together with others"
        return replace(self._mixed(step, [value], known=True, reason=reason), made=behind.made)

    # ------------------------------------------------------------------ functions

    def _through_function(self, step: Step) -> Value:
        arguments = self._arguments(step)
        if step.name in FACTS or not any(value.pieces for value in arguments):
            return OUTSIDE if step.name in FACTS else Value(made=_union(value.made for value in arguments))
        value = arguments[0]
        if step.name in CATS:
            return self._cat(step)
        if step.name in SUMS | PRODUCTS:
            return self._combine(step, arguments)
        if len(arguments) == 1 or step.name in ("view", "reshape"):
            if step.name in SAME:
                return value
            if step.name in ACTIVATED:
                return _activated(value, (step.name, *_numbers(step)))
            if step.name in DROPOUTS:
                return value.turned(step)
            if value.is_map and (step.name in POOLED or _is_mean_of_positions(step)):
                pooled = value.turned((step.name, *_numbers(step)))
                kept = step.name in POOLED or _options(step, ("dim", 0), ("keepdim", False))[1]
                return replace(pooled, is_map=kept)
            if step.name == "flatten":
                start, end = _options(step, ("start_dim", 0), ("end_dim", -1))
                return self._flatten(step, value, start, end)
            if step.name in ("view", "reshape") and len(_sizes(step)) == 2:
                return self._flatten(step, value, 1, -1)
        return self._mixed(step, arguments, known=False, reason=f"what {step.name} makes")

    def _mixed(self, step: Step, values: Sequence[Value], *, known: bool, reason: str) -> Value:
        """Values without columns: what was not understood before is not understood behind it."""
        made = _union(value.made for value in values)
        pieces = [piece for value in values for piece in value.pieces]
        stages = _union(piece.stages for piece in pieces)
        before = [piece.of for piece in pieces if isinstance(piece.of, Mixture)]
        strange = [mixture for mixture in before if not mixture.known]
        if strange:
            known, reason = False, strange[0].reason
        elif before and not any(isinstance(piece.of, Stage) for piece in pieces):
            known, reason = True, before[0].reason  # these units are fixed already
        elif not stages:
            return Value(made=made)
        elif not known:
            reason = f"{reason} of the units of {' and '.join(sorted(stage.path for stage in stages))}"
        return Value((Piece(Mixture(stages, reason, known), _width(step)),), made)

    def _combine(self, step: Step, arguments: list[Value]) -> Value:
        """Sums and products with numbers, or of functions of the same units, keep the units apart."""
        first = arguments[0]
        same = all(_same_units(first, value) for value in arguments[1:])
        if same and not first.is_mixed:
            active = all(
                any(each.active for each in pieces) for pieces in zip(*(v.pieces for v in arguments), strict=True)
            )
            form = (step.name, *(piece.form for value in arguments[1:] for piece in value.pieces), *_numbers(step))
            return first.turned(form, active=active)
        return self._mixed(step, arguments, known=True, reason=SUMMED if step.name in SUMS else MULTIPLIED)

    def _cat(self, step: Step) -> Value:
        parts = step.args[0] if step.args else step.kwargs["tensors"]
        values = [self._values.get(part, OUTSIDE) for part in parts]
        dim = 1 if step.name == "hstack" else _options(step, ("dim", step.kwargs.get("axis", 0)))[0]
        maps = {value.is_map for value in values if value.pieces and not value.is_mixed}
        is_map = maps == {True}
        right = dim in (1, -3) if is_map else dim == -1 or (dim == 1 and len(step.shape or (0, 0)) == 2)
        if not right or len(maps) > 1:
            return self._mixed(step, values, known=False, reason=f"what {step.name} along axis {dim} makes")
        pieces: list[Piece] = []
        for part, value in zip(parts, values, strict=True):
            width = None if part.shape is None else part.shape[1 if is_map else -1]
            pieces += value.pieces or [Piece(None, width)]
        return Value(tuple(pieces), _union(value.made for value in values), is_map)

    def _flatten(self, step: Step, value: Value, start: int, end: int) -> Value:
        if not value.pieces or value.is_mixed:
            return replace(value, pieces=tuple(replace(piece, width=_width(step)) for piece in value.pieces))
        before = _first(step).shape
        if value.is_map and start == 1 and end in (-1, 3):
            positions = None if before is None else before[2] * before[3]
            pieces = tuple(
                replace(piece, block=positions, width=piece.width and positions and piece.width * positions)
                for piece in value.pieces
            )
            return replace(value, pieces=pieces, is_map=False).turned("flatten")
        if not value.is_map and (step.shape == before if before is not None else start == 1):
            return value  # it is flat already
        return self._mixed(step, [value], known=False, reason=f"what {step.name or 'Flatten'} makes")


def _activated(value: Value, function: Any) -> Value:
    """The value behind an activation function."""
    for piece in value.pieces:
        # Normalisations alone stand between the producer and its first activation function.
        if isinstance(piece.of, Stage) and not piece.active and len(piece.form) == len(piece.of.norms):
            piece.of.preactivation = piece.of.preactivation or [piece.of.producer, *piece.of.norms][-1]
    return value.turned(function, active=True)


def _folded(value: Value, fold: int) -> Value:
    """The value behind an activation function that puts out several values for each unit of the only piece."""
    (piece,) = value.pieces
    return replace(value, pieces=(replace(piece, width=piece.width and piece.width * fold, fold=fold),))


def _first(step: Step) -> Step:
    found: Step = tensors_in([step.args, dict(step.kwargs)], Step)[0]
    return found


def _union(sets: Iterable[frozenset[Any]]) -> frozenset[Any]:
    return frozenset().union(*sets)


def _width(step: Step) -> int | None:
    return None if step.shape is None or len(step.shape) < 2 else step.shape[1 if len(step.shape) == 4 else -1]


def _numbers(step: Step) -> tuple[Any, ...]:
    """All of a function's arguments but tensors."""
    return tuple(str(each) for each in (*step.args, *sorted(step.kwargs.items())) if not tensors_in(each, Step))


def _same_units(one: Value, other: Value) -> bool:
    """Whether two values hold the same units in the same columns."""
    ours, theirs = ([(p.of, p.width, p.block) for p in value.pieces] for value in (one, other))
    return ours == theirs and one.is_map == other.is_map and all(isinstance(of, Stage) for of, _, _ in ours)


def _options(step: Step, *known: tuple[str, Any]) -> list[Any]:
    """Arguments behind the first, by place or name."""
    found = []
    for number, (key, default) in enumerate(known):
        place = number + 1
        found.append(step.args[place] if len(step.args) > place else step.kwargs.get(key, default))
    return found


def _sizes(step: Step) -> tuple[Any, ...]:
    sizes = step.args[1:] or (step.kwargs.get("shape", ()),)
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes


def _is_mean_of_positions(step: Step) -> bool:
    dims = _options(step, ("dim", 0))[0]
    return step.name in ("mean", "amax") and isinstance(dims, tuple | list) and set(dims) in ({2, 3}, {-1, -2})
