"""Networks of ReLU layers on a minibatch, forward and backward, each in one call that holds no interpreter lock.

Their layers but the first are those of `agents.speed.kernels.dense_layers`, of one kind; what goes in is float32.
"""

from __future__ import annotations

import numpy as np

from agents.speed.floats import add, add_product, load, spread, store, total, where_positive
from agents.speed.kernels.compiling import compiled
from agents.speed.kernels.dense_layers import leave, leave_gradient, pass_gradient, pass_on, weight_gradient
from agents.speed.kernels.perceptrons import RELU
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
        pass_on(hidden[layer - 1], weights[layer], biases[layer], RELU, hidden[layer])
    leave(hidden[len(hidden) - 1], weights[len(hidden)], biases[len(hidden)], out)


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
    every, no_units = np.arange(rows), np.empty((0, 0), np.float32)
    at = leave_gradient(
        hidden[last - 1], weights[last], at_out, every, RELU, at_weights[last], at_biases[last - 1], no_units
    )
    for layer in range(last - 1, 0, -1):
        weight_gradient(at, hidden[layer - 1], at_weights[layer])
        at = pass_gradient(at, weights[layer], hidden[layer - 1], every, RELU, at_biases[layer - 1], no_units)
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
    nothing, no_units = np.empty(0, np.float32), np.empty((0, 0), np.float32)
    at = leave_gradient(hidden[last - 1], weights[last], at_out, rows, RELU, no_units, nothing, no_units)
    for layer in range(last - 1, 0, -1):
        at = pass_gradient(at, weights[layer], hidden[layer - 1], rows, RELU, nothing, no_units)
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


# ------------------------------------------------------------------ first layers


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
