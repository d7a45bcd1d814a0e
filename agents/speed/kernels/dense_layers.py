"""Layers of linear networks on a minibatch, forward and backward, for other loops.

What lies between layers is of one *kind*: float32, or int16 with the bits of bfloat16. Of it what is multiplied is, too
(see `agents.speed.pairs`). Parameters, what comes out, and sums are float32. Hidden layers are multiples of `PANEL`
wide, and have one of `agents.speed.kernels.perceptrons.ACTIVATIONS` behind them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.speed.floats import add, add_product, before_tanh, load, spread, store, tanh, total, where_positive
from agents.speed.kernels.axes import swap_axes
from agents.speed.kernels.compiling import compiled
from agents.speed.kernels.perceptrons import TANH
from agents.speed.pairs import PANEL, TALL, fold, multiply_one, multiply_tall, per_word
from agents.speed.vectors import LANES

# ------------------------------------------------------------------ activations


@compiled
def activated(activation: int, x: Any) -> Any:
    """Sixteen numbers behind an activation function."""
    return tanh(x) if activation == TANH else where_positive(x, x)


@compiled
def before(activation: int, gradient: Any, y: Any) -> Any:
    """The gradient before an activation function from that behind it, where `y` is."""
    return before_tanh(gradient, y) if activation == TANH else where_positive(gradient, y)


# ------------------------------------------------------------------ forward


@compiled
def pass_on(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, activation: int, out: np.ndarray) -> None:
    """A layer between hidden ones."""
    rows, units = out.shape
    length = x.shape[1] // per_word(x)
    left, panels, y = x.reshape(-1).view(np.float32), _columns(x, weight), out.reshape(-1)
    tile = np.empty(TALL * PANEL, np.float32)
    for unit in range(0, units, PANEL):
        for row in range(0, rows, TALL):
            _tile(x, tile, left, row * length, length, 1, panels, unit * length, length, rows - row)
            for number in range(min(TALL, rows - row)):
                for part in range(0, PANEL, LANES):
                    sums = add(load(tile, number * PANEL + part), load(bias, unit + part))
                    store(y, (row + number) * units + unit + part, activated(activation, sums))


@compiled
def leave(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    """A last layer of few outputs."""
    rows, units = x.shape
    y, weights = x.reshape(-1), weight.reshape(-1)
    for row in range(rows):
        for place in range(len(bias)):
            sums = spread(np.float32(0.0))
            for unit in range(0, units, LANES):
                sums = add_product(sums, load(y, row * units + unit), load(weights, place * units + unit))
            out[row, place] = total(sums) + bias[place]


# ------------------------------------------------------------------ backward: from behind a layer to before it


@compiled
def leave_gradient(
    x: np.ndarray, weight: np.ndarray, gradient: np.ndarray, chosen: np.ndarray, activation: int,
    at_weight: np.ndarray, at_bias: np.ndarray, at_units: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Of a last layer and the activation function before it: (chosen rows, units), of `x`'s kind.

    To `at_weight` its weights' is added, and what is given is summed up in `at_bias`, unless these are empty;
    likewise to `at_units`, (rows, units), the gradient behind the activation function is written.
    """
    units, learns = x.shape[1], len(at_bias) > 0
    found = np.empty((len(chosen), units), x.dtype)
    y, weights, at_y, at_weights = x.reshape(-1), weight.reshape(-1), found.reshape(-1), at_weight.reshape(-1)
    at_bias[:] = 0
    for number in range(len(chosen)):
        row = chosen[number]
        for unit in range(0, units, LANES):
            active, sums = load(y, row * units + unit), spread(np.float32(0.0))
            for place in range(gradient.shape[1]):
                factor, at = spread(gradient[row, place]), place * units + unit
                sums = add_product(sums, factor, load(weights, at))
                if learns:
                    store(at_weights, at, add_product(load(at_weights, at), factor, active))
            if at_units.size:
                store(at_units.reshape(-1), number * units + unit, sums)
            sums = before(activation, sums, active)
            store(at_y, number * units + unit, sums)
            if learns:
                store(at_bias, unit, add(load(at_bias, unit), sums))
    return found


@compiled
def pass_gradient(
    gradient: np.ndarray, weight: np.ndarray, x: np.ndarray, chosen: np.ndarray, activation: int,
    at_bias: np.ndarray, at_units: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Of a layer between hidden ones and the activation function before it; as `leave_gradient`."""
    rows, units = gradient.shape
    inputs, length, learns = x.shape[1], units // per_word(x), len(at_bias) > 0
    left, panels = gradient.reshape(-1).view(np.float32), _rows(x, weight, units, PANEL)
    found, tile = np.empty((rows, inputs), x.dtype), np.empty(TALL * PANEL, np.float32)
    y, at_y = x.reshape(-1), found.reshape(-1)
    at_bias[:] = 0
    for unit in range(0, inputs, PANEL):
        for row in range(0, rows, TALL):
            _tile(x, tile, left, row * length, length, 1, panels, unit * length, length, rows - row)
            for number in range(min(TALL, rows - row)):
                for part in range(0, PANEL, LANES):
                    active = load(y, chosen[row + number] * inputs + unit + part)
                    sums = load(tile, number * PANEL + part)
                    if at_units.size:
                        store(at_units.reshape(-1), (row + number) * inputs + unit + part, sums)
                    sums = before(activation, sums, active)
                    store(at_y, (row + number) * inputs + unit + part, sums)
                    if learns:
                        store(at_bias, unit + part, add(load(at_bias, unit + part), sums))
    return found


@compiled
def weight_gradient(gradient: np.ndarray, x: np.ndarray, at_weight: np.ndarray) -> None:
    """Of the weights of a layer between hidden ones."""
    rows, units = gradient.shape
    inputs, length = x.shape[1], -(-rows // per_word(x))
    left, panels = _rows(x, gradient, rows, units), _rows(x, x, rows, PANEL)
    target, tile = at_weight.reshape(-1), np.empty(TALL * PANEL, np.float32)
    for place in range(0, inputs, PANEL):
        for unit in range(0, units, TALL):
            multiply_tall(x, tile, 0, left, unit, 1, units, panels, place * length, length)
            for number in range(TALL):
                for part in range(0, PANEL, LANES):
                    store(target, (unit + number) * inputs + place + part, load(tile, number * PANEL + part))


# ------------------------------------------------------------------ what is multiplied


@compiled
def _tile(
    kind: np.ndarray, tile: np.ndarray, left: np.ndarray, at: int, row: int, step: int, panels: np.ndarray, begin: int,
    length: int, rows: int,
) -> None:  # fmt: skip
    """`TALL` rows of a product, or the few that are left."""
    if rows >= TALL:
        multiply_tall(kind, tile, 0, left, at, row, step, panels, begin, length)
    else:
        for number in range(rows):
            multiply_one(kind, tile, number * PANEL, left, at + number * row, row, step, panels, begin, length)


@compiled
def _columns(kind: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Words of neighbours in the rows of weights, by panels of such rows, next to each other in these."""
    units, inputs = weight.shape
    rounded, given = np.empty(units * inputs, kind.dtype), weight.reshape(-1)
    for place in range(0, len(rounded), LANES):
        store(rounded, place, load(given, place))
    length = inputs // per_word(kind)
    words, found = rounded.view(np.float32), np.empty(units * length, np.float32)
    for unit in range(0, units, PANEL):
        swap_axes(found, unit * length, words, unit * length, PANEL, length)
    return found


@compiled
def _rows(kind: np.ndarray, source: np.ndarray, rows: int, wide: int) -> np.ndarray:
    """Words of neighbours in columns of the first rows, those of panels so wide next to each other."""
    columns, count = source.shape[1], per_word(kind)
    length = -(-rows // count)
    given, found = source.reshape(-1), np.empty(length * columns, np.float32)
    for word in range(length):
        row = word * count
        for column in range(0, columns, LANES):
            one = load(given, row * columns + column)
            other = load(given, (row + 1) * columns + column) if row + 1 < rows else spread(np.float32(0.0))
            at = column // wide * wide * length + word * wide + column % wide
            store(found, at, fold(kind, one, other))
    return found
