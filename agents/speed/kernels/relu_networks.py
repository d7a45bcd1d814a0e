"""Networks of ReLU layers on a minibatch, forward and backward, each in one call that holds no interpreter lock.

Hidden layers' numbers are float32, or int16 with the bits of bfloat16: their *kind*, of which what is multiplied is,
too (see `agents.speed.pairs`). Parameters, what goes in and comes out, and sums are float32. Hidden layers are
multiples of `PANEL` wide.
"""

from __future__ import annotations

import numpy as np

from agents.speed.floats import add, add_product, load, spread, store, total, where_positive
from agents.speed.kernels.compiling import compiled
from agents.speed.kernels.first_layers import swap_axes
from agents.speed.pairs import PANEL, TALL, fold, multiply_one, multiply_tall, per_word
from agents.speed.vectors import LANES


@compiled
def forward(
    x: np.ndarray, product: np.ndarray, weights: tuple[np.ndarray, ...], biases: tuple[np.ndarray, ...],
    hidden: tuple[np.ndarray, ...], out: np.ndarray,
) -> None:  # fmt: skip
    """What comes out of a network.

    Args:
        x: (rows, inputs).
        product: of `x` and the first layer's weights, (rows, units); empty where it is to be made here.
        weights: of each layer, (outputs, inputs).
        biases: of each layer, (outputs,).
        hidden: of each hidden layer, (rows, units), where what follows its ReLU is written.
        out: (rows, outputs), where what comes out is.
    """
    if len(product):
        _rectify(product, biases[0], hidden[0])
    else:
        _enter(x, weights[0], biases[0], hidden[0])
    for layer in range(1, len(hidden)):
        _pass(hidden[layer - 1], weights[layer], biases[layer], hidden[layer])
    _leave(hidden[len(hidden) - 1], weights[len(hidden)], biases[len(hidden)], out)


@compiled
def gradients(
    x: np.ndarray, weights: tuple[np.ndarray, ...], hidden: tuple[np.ndarray, ...], at_out: np.ndarray,
    at_weights: tuple[np.ndarray, ...], at_biases: tuple[np.ndarray, ...], at_product: np.ndarray,
) -> None:  # fmt: skip
    """The gradients of the parameters.

    Args:
        x: as of `forward`, also with further rows.
        weights: likewise.
        hidden: that it has written.
        at_out: the gradient of what comes out of the first rows.
        at_weights: where those of weights are written; the first one's not where it is empty.
        at_biases: where those of biases are.
        at_product: where that of the first layer's product is written, (rows, units), for the former; or empty.
    """
    rows, last = len(at_out), len(hidden)
    at_weights[last][:], at_biases[last][:] = 0, 0
    for row in range(rows):
        for place in range(at_out.shape[1]):
            at_biases[last][place] += at_out[row, place]
    every = np.arange(rows)
    at = _leave_gradient(hidden[last - 1], weights[last], at_out, every, at_weights[last], at_biases[last - 1])
    for layer in range(last - 1, 0, -1):
        _weight_gradient(at, hidden[layer - 1], at_weights[layer])
        at = _pass_gradient(at, weights[layer], hidden[layer - 1], every, at_biases[layer - 1])
    if len(at_weights[0]):
        _enter_gradient(x, at, at_weights[0])
    numbers, given = at_product.reshape(-1), at.reshape(-1)
    for place in range(0, len(numbers), LANES):
        store(numbers, place, load(given, place))


@compiled
def input_gradient(
    weights: tuple[np.ndarray, ...], hidden: tuple[np.ndarray, ...], at_out: np.ndarray, at_x: np.ndarray
) -> None:
    """The gradient of what goes in; of rows that have none where it comes out nothing is computed.

    Args:
        weights: as of `forward`.
        hidden: that it has written.
        at_out: the gradient of what comes out.
        at_x: (rows, wanted), where that of the last inputs is written.
    """
    rows, count = np.empty(len(at_out), np.int64), 0
    for row in range(len(at_out)):
        rows[count] = row
        for place in range(at_out.shape[1]):
            if at_out[row, place] != 0:  # or it is no number
                count += 1
                break
    rows, last = rows[:count], len(hidden)
    nothing = np.empty(0, np.float32)
    at = _leave_gradient(hidden[last - 1], weights[last], at_out, rows, np.empty((0, 0), np.float32), nothing)
    for layer in range(last - 1, 0, -1):
        at = _pass_gradient(at, weights[layer], hidden[layer - 1], rows, nothing)
    at_x[:] = 0
    units, inputs = weights[0].shape
    columns, numbers = np.empty(units, np.float32), at.reshape(-1)
    for place in range(at_x.shape[1]):
        columns[:] = weights[0][:, inputs - at_x.shape[1] + place]
        for number in range(count):
            sums = spread(np.float32(0.0))
            for unit in range(0, units, LANES):
                sums = add_product(sums, load(numbers, number * units + unit), load(columns, unit))
            at_x[rows[number], place] = total(sums)


# ------------------------------------------------------------------ layers, forward


@compiled
def _enter(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    """A first layer of few inputs."""
    rows, inputs = x.shape
    units = len(bias)
    turned, y = np.empty(inputs * units, np.float32), out.reshape(-1)
    for unit in range(units):
        for place in range(inputs):
            turned[place * units + unit] = weight[unit, place]
    for row in range(rows):
        for unit in range(0, units, LANES):
            sums = load(bias, unit)
            for place in range(inputs):
                sums = add_product(sums, load(turned, place * units + unit), spread(x[row, place]))
            store(y, row * units + unit, where_positive(sums, sums))


@compiled
def _rectify(x: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    """What follows a layer's product."""
    rows, units = x.shape
    y, z = x.reshape(-1), out.reshape(-1)
    for row in range(rows):
        for unit in range(0, units, LANES):
            sums = add(load(y, row * units + unit), load(bias, unit))
            store(z, row * units + unit, where_positive(sums, sums))


@compiled
def _pass(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
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
                    store(y, (row + number) * units + unit + part, where_positive(sums, sums))


@compiled
def _leave(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    """A last layer of few outputs."""
    rows, units = x.shape
    y, weights = x.reshape(-1), weight.reshape(-1)
    for row in range(rows):
        for place in range(len(bias)):
            sums = spread(np.float32(0.0))
            for unit in range(0, units, LANES):
                sums = add_product(sums, load(y, row * units + unit), load(weights, place * units + unit))
            out[row, place] = total(sums) + bias[place]


# ------------------------------------------------------------------ layers, backward: from behind one to before it


@compiled
def _leave_gradient(
    x: np.ndarray, weight: np.ndarray, gradient: np.ndarray, chosen: np.ndarray, at_weight: np.ndarray,
    at_bias: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Of a last layer and the ReLU before it: (chosen rows, units), of `x`'s kind.

    To `at_weight` its weights' is added, and what is given is summed up in `at_bias`, unless these are empty.
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
            sums = where_positive(sums, active)
            store(at_y, number * units + unit, sums)
            if learns:
                store(at_bias, unit, add(load(at_bias, unit), sums))
    return found


@compiled
def _pass_gradient(
    gradient: np.ndarray, weight: np.ndarray, x: np.ndarray, chosen: np.ndarray, at_bias: np.ndarray
) -> np.ndarray:
    """Of a layer between hidden ones and the ReLU before it; as `_leave_gradient`."""
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
                    sums = where_positive(load(tile, number * PANEL + part), active)
                    store(at_y, (row + number) * inputs + unit + part, sums)
                    if learns:
                        store(at_bias, unit + part, add(load(at_bias, unit + part), sums))
    return found


@compiled
def _weight_gradient(gradient: np.ndarray, x: np.ndarray, at_weight: np.ndarray) -> None:
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


@compiled
def _enter_gradient(x: np.ndarray, gradient: np.ndarray, at_weight: np.ndarray) -> None:
    """Of the weights of a first layer of few inputs."""
    rows, units = gradient.shape
    inputs, given = x.shape[1], gradient.reshape(-1)
    sums = np.zeros(inputs * units, np.float32)
    for row in range(rows):
        for unit in range(0, units, LANES):
            here = load(given, row * units + unit)
            for place in range(inputs):
                at = place * units + unit
                store(sums, at, add_product(load(sums, at), here, spread(x[row, place])))
    for unit in range(units):
        for place in range(inputs):
            at_weight[unit, place] = sums[place * units + unit]


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
