"""Small networks of linear layers on few rows, forward: one call where the operations of each layer take longer."""

from __future__ import annotations

import numpy as np

from agents.speed.kernels.compiling import compiled
from agents.speed.vectors import LANES, add_scaled, copy, tanh

RELU, TANH = range(2)
ACTIVATIONS = {"ReLU": RELU, "Tanh": TANH}
"""Name in `torch.nn` -> what `follow` is given."""


@compiled
def _rectify(numbers: np.ndarray) -> None:
    for place in range(len(numbers)):
        if numbers[place] < 0:  # what is no number stays so
            numbers[place] = 0


@compiled
def hyperbolic_tangent(numbers: np.ndarray, into: np.ndarray) -> None:
    """Of each, a multiple of `LANES`, within 3e-7; `into` may be where they are."""
    for place in range(0, len(numbers), LANES):
        copy(into, place, numbers, place)
        tanh(into, place)


@compiled
def follow(
    before: np.ndarray, weights: tuple[np.ndarray, ...], biases: tuple[np.ndarray, ...], activation: int,
    out: np.ndarray,
) -> None:  # fmt: skip
    """What follows the first of several linear layers, all of which have one activation but the last, which has none.

    Args:
        before: (rows, units), multiples of `LANES`, what the first layer gives; its memory is written to.
        weights: of the other layers, (outputs, inputs).
        biases: of these, (outputs,).
        activation: `RELU` or `TANH`.
        out: (rows, outputs), where those of the last one are written.
    """
    rows, stride = before.shape
    x = before.reshape(-1)
    for number in range(len(weights)):
        if activation == RELU:
            _rectify(x)
        else:
            hyperbolic_tangent(x, x)
        outputs, inputs = weights[number].shape
        width = -(-outputs // LANES) * LANES
        turned, added = np.zeros(inputs * width, np.float32), np.zeros(width, np.float32)
        for unit in range(outputs):
            added[unit] = biases[number][unit]
            for place in range(inputs):
                turned[place * width + unit] = weights[number][unit, place]
        y = np.empty(rows * width, np.float32)
        for row in range(rows):
            for part in range(0, width, LANES):
                copy(y, row * width + part, added, part)
            for place in range(inputs):
                for part in range(0, width, LANES):
                    add_scaled(y, row * width + part, turned, place * width + part, x[row * stride + place])
        x, stride = y, width
    for row in range(rows):
        for unit in range(out.shape[1]):
            out[row, unit] = x[row * stride + unit]
