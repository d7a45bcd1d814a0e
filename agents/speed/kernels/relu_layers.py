"""What is around the products of networks of ReLU layers, forward and backward, each in one pass over a minibatch.

Hidden layers' numbers are float32, or int16 with the bits of bfloat16; the sums of all are float32. Widths of hidden
layers are multiples of `LANES`.
"""

from __future__ import annotations

import numpy as np

from agents.speed.floats import add, add_product, load, spread, store, total, where_positive
from agents.speed.kernels.compiling import compiled
from agents.speed.kernels.first_layers import swap_axes
from agents.speed.vectors import LANES


@compiled
def enter(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    """A first layer of few inputs.

    Args:
        x: (rows, inputs).
        weight: (units, inputs).
        bias: (units,).
        out: (rows, units), where what follows its ReLU is written.
    """
    rows, inputs = x.shape
    units = len(bias)
    turned, y = np.empty(inputs * units, np.float32), out.reshape(-1)
    swap_axes(turned, 0, weight.reshape(-1), 0, units, inputs)
    for row in range(rows):
        for unit in range(0, units, LANES):
            sums = load(bias, unit)
            for place in range(inputs):
                sums = add_product(sums, load(turned, place * units + unit), spread(x[row, place]))
            store(y, row * units + unit, where_positive(sums, sums))


@compiled
def rectify(x: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    """The biases and the ReLU of a hidden layer.

    Args:
        x: (rows, units), the layer's product.
        bias: (units,).
        out: (rows, units), where what follows the ReLU is written; it may be `x`.
    """
    rows, units = x.shape
    y, z = x.reshape(-1), out.reshape(-1)
    for row in range(rows):
        for unit in range(0, units, LANES):
            sums = add(load(y, row * units + unit), load(bias, unit))
            store(z, row * units + unit, where_positive(sums, sums))


@compiled
def leave(x: np.ndarray, before: np.ndarray, weight: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    """A last layer of few outputs.

    Args:
        x: (rows, units); behind a product what follows the ReLU is written in its place.
        before: (units,), the biases of that product; empty where `x` follows a ReLU already.
        weight: (outputs, units).
        bias: (outputs,).
        out: (rows, outputs), float32, where they are written.
    """
    rows, units = x.shape
    y, weights = x.reshape(-1), weight.reshape(-1)
    for row in range(rows):
        if len(before):
            for unit in range(0, units, LANES):
                sums = add(load(y, row * units + unit), load(before, unit))
                store(y, row * units + unit, where_positive(sums, sums))
        for place in range(len(bias)):
            sums = spread(np.float32(0.0))
            for unit in range(0, units, LANES):
                sums = add_product(sums, load(y, row * units + unit), load(weights, place * units + unit))
            out[row, place] = total(sums) + bias[place]


@compiled
def leave_gradient(
    x: np.ndarray, weight: np.ndarray, gradient: np.ndarray, at_x: np.ndarray, at_before: np.ndarray,
    at_weight: np.ndarray, at_bias: np.ndarray,
) -> None:  # fmt: skip
    """That of a last layer, and of the ReLU and the biases before it.

    Args:
        x: as of `leave`.
        weight: as of `leave`.
        gradient: at its outputs, (rows, outputs), float32.
        at_x: (rows, units), where that at what the ReLU reads is written.
        at_before: (units,), where its sums are written: at the biases before the ReLU.
        at_weight: (outputs, units), where that of the weights is written; nothing of parameters where that is empty.
        at_bias: (outputs,), likewise.
    """
    rows, units = x.shape
    y, weights, at_y, at_weights = x.reshape(-1), weight.reshape(-1), at_x.reshape(-1), at_weight.reshape(-1)
    learns = len(at_weights) > 0
    at_before[:], at_weights[:], at_bias[:] = 0, 0, 0
    for row in range(rows):
        if learns:
            for place in range(len(at_bias)):
                at_bias[place] += gradient[row, place]
        for unit in range(0, units, LANES):
            active, sums = load(y, row * units + unit), spread(np.float32(0.0))
            for place in range(gradient.shape[1]):
                factor = spread(gradient[row, place])
                sums = add_product(sums, factor, load(weights, place * units + unit))
                if learns:
                    at = place * units + unit
                    store(at_weights, at, add_product(load(at_weights, at), factor, active))
            sums = where_positive(sums, active)
            store(at_y, row * units + unit, sums)
            if learns:
                store(at_before, unit, add(load(at_before, unit), sums))


@compiled
def rectify_gradient(out: np.ndarray, gradient: np.ndarray, at_x: np.ndarray, at_bias: np.ndarray) -> None:
    """That of a hidden layer's ReLU and biases.

    Args:
        out: that `rectify` has written.
        gradient: there, (rows, units).
        at_x: (rows, units), where that at the layer's product is written; it may be `gradient`.
        at_bias: (units,), where its sums are written; empty where they are not wanted.
    """
    rows, units = out.shape
    y, at_y, at_z, learns = out.reshape(-1), at_x.reshape(-1), gradient.reshape(-1), len(at_bias) > 0
    at_bias[:] = 0
    for row in range(rows):
        for unit in range(0, units, LANES):
            at = row * units + unit
            sums = where_positive(load(at_z, at), load(y, at))
            store(at_y, at, sums)
            if learns:
                store(at_bias, unit, add(load(at_bias, unit), sums))


@compiled
def enter_gradient(
    x: np.ndarray, weight: np.ndarray, out: np.ndarray, gradient: np.ndarray, at_weight: np.ndarray,
    at_bias: np.ndarray, at_x: np.ndarray,
) -> None:  # fmt: skip
    """That of a first layer.

    Args:
        x: as of `enter`.
        weight: as of `enter`.
        out: that `enter` has written.
        gradient: there, (rows, units).
        at_weight: (units, inputs), where that of the weights is written; nothing of parameters where that is empty.
        at_bias: (units,), likewise.
        at_x: (rows, inputs), to whose last columns that of the last inputs is added; none where it is empty.
    """
    rows, units = out.shape
    inputs, wanted = x.shape[1], at_x.shape[1]
    y, at_y, learns = out.reshape(-1), gradient.reshape(-1), len(at_bias) > 0
    turned, sums = np.empty(inputs * units, np.float32), np.zeros(inputs * units, np.float32)
    if wanted:
        swap_axes(turned, 0, weight.reshape(-1), 0, units, inputs)
    at_bias[:] = 0
    of_x = np.empty(wanted * LANES, np.float32)
    for row in range(rows):
        of_x[:] = 0
        for unit in range(0, units, LANES):
            at = row * units + unit
            here = where_positive(load(at_y, at), load(y, at))
            if learns:
                store(at_bias, unit, add(load(at_bias, unit), here))
                for place in range(inputs):
                    at = place * units + unit
                    store(sums, at, add_product(load(sums, at), here, spread(x[row, place])))
            for place in range(wanted):
                weights = load(turned, (inputs - wanted + place) * units + unit)
                store(of_x, place * LANES, add_product(load(of_x, place * LANES), here, weights))
        for place in range(wanted):
            at_x[row, place] += total(load(of_x, place * LANES))
    if learns:
        swap_axes(at_weight.reshape(-1), 0, sums, 0, inputs, units)
