"""Convolutions on boards of zeros and ones whose maps have their filters last in memory, with a ReLU behind them.

So what a cell adds lies together as it is computed, and nothing has to be turned for that; what `convolutions` makes,
which lies as torch's maps do, has to be. Maps are float32, or int16 with the bits of bfloat16, as in `dense_layers`.
"""

from __future__ import annotations

import numpy as np

from agents.speed.floats import add, load, spread, store, where_positive
from agents.speed.kernels.axes import swap_axes
from agents.speed.kernels.compiling import compiled
from agents.speed.kernels.convolutions import add_cells, blank, gather_cells
from agents.speed.vectors import LANES


@compiled
def convolution(
    cells: np.ndarray, starts: np.ndarray, places: np.ndarray, weight: np.ndarray, bias: np.ndarray, maps: np.ndarray
) -> None:
    """A convolution of stride 1 without padding, and ReLU.

    Args:
        cells: of `cells.find`.
        starts: of `cells.find`.
        places: (size, 3), of each cell of a board its row, column and channel.
        weight: (filters, channels, rows of the kernel, its columns); filters are a multiple of `LANES`.
        bias: (filters,).
        maps: (boards, rows, columns, filters), where they are written.
    """
    boards, rows, columns, filters = maps.shape
    kernel = weight.shape[2], weight.shape[3]
    tile, line, inner = blank(filters, kernel, rows, columns)
    turned, into = _turned(weight), maps.reshape(-1)
    for board in range(boards):
        for row in range(rows):  # what is added to the margin is never looked at
            for column in range(columns):
                for part in range(0, filters, LANES):
                    store(tile, inner + row * line + column * filters + part, load(bias, part))
        gather_cells(cells[starts[board] : starts[board + 1]], places, turned, kernel, filters, tile, line)
        for row in range(rows):
            at = (board * rows + row) * columns * filters
            for part in range(0, columns * filters, LANES):
                found = load(tile, inner + row * line + part)
                store(into, at + part, where_positive(found, found))


@compiled
def convolution_gradient(
    cells: np.ndarray, starts: np.ndarray, places: np.ndarray, gradient: np.ndarray, at_weight: np.ndarray,
    at_bias: np.ndarray,
) -> None:  # fmt: skip
    """The gradients of a convolution's parameters.

    Args:
        cells: as of `convolution`.
        starts: likewise.
        places: likewise.
        gradient: before the ReLU, as the maps.
        at_weight: where that of the weight is written.
        at_bias: where that of the bias is.
    """
    boards, rows, columns, filters = gradient.shape
    kernel = at_weight.shape[2], at_weight.shape[3]
    tile, line, inner = blank(filters, kernel, rows, columns)
    turned, given = np.zeros(at_weight.size, np.float32), gradient.reshape(-1)
    at_bias[:] = 0
    for board in range(boards):
        for part in range(0, filters, LANES):
            # Summed up by boards: thousands of small numbers on one large one would be rounded off.
            sums = spread(np.float32(0.0))
            for row in range(rows):
                for column in range(columns):
                    here = load(given, ((board * rows + row) * columns + column) * filters + part)
                    sums = add(sums, here)
                    store(tile, inner + row * line + column * filters + part, here)
            store(at_bias, part, add(load(at_bias, part), sums))
        add_cells(cells[starts[board] : starts[board + 1]], places, turned, kernel, filters, tile, line)
    _turn_back(turned, at_weight)


@compiled
def filters_last(weight: np.ndarray, filters: int) -> np.ndarray:
    """A linear layer's weights of maps as torch has them, (units, filters x positions), for these maps."""
    found = np.empty(weight.shape, np.float32)
    _swap_inputs(weight, filters, weight.shape[1] // filters, found)
    return found


@compiled
def filters_first(weight: np.ndarray, filters: int, into: np.ndarray) -> None:
    """Write what `filters_last` has given, or a gradient of it, as torch has it."""
    _swap_inputs(weight, weight.shape[1] // filters, filters, into)


@compiled
def _swap_inputs(weight: np.ndarray, rows: int, columns: int, into: np.ndarray) -> None:
    units, inputs = weight.shape
    given, found = weight.reshape(-1), into.reshape(-1)
    for unit in range(units):
        swap_axes(found, unit * inputs, given, unit * inputs, rows, columns)


@compiled
def _turned(weight: np.ndarray) -> np.ndarray:
    """Filters last, columns from the last to the first: (channels, rows, columns, filters), flat."""
    filters, channels, high, wide = weight.shape
    found = np.empty((channels, high, wide, filters), np.float32)
    for filter_ in range(filters):
        for channel in range(channels):
            for row in range(high):
                for column in range(wide):
                    found[channel, row, wide - 1 - column, filter_] = weight[filter_, channel, row, column]
    return found.reshape(-1)


@compiled
def _turn_back(turned: np.ndarray, weight: np.ndarray) -> None:
    filters, channels, high, wide = weight.shape
    given = turned.reshape((channels, high, wide, filters))
    for filter_ in range(filters):
        for channel in range(channels):
            for row in range(high):
                for column in range(wide):
                    weight[filter_, channel, row, column] = given[channel, row, wide - 1 - column, filter_]
