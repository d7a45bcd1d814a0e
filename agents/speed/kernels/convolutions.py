"""First layers that are convolutions, on boards of which few cells are set: compiled loops over those.

Of MinAtar's 1,000 cells 6 to 50 are set, so that a dense convolution multiplies by zero 95 times of 100. A convolution
adds, for each set cell, the filters' weights to the outputs that see it, and its gradient is gathered in the same way:
on 1,024 boards 2 ms where dense ones take 8 in float32 and 5 in bfloat16, forward and backward, on one core.

What a loop adds up it adds in memory's order of the cells, board after board, see `agents.speed.order`.
"""

from __future__ import annotations

import numpy as np

from agents.speed.kernels.axes import swap_axes, swap_axes_where
from agents.speed.kernels.compiling import compiled
from agents.speed.vectors import LANES, add, copy, join, join_rectified, transpose_rectified


@compiled
def blank(filters: int, kernel: tuple[int, int], rows: int, columns: int) -> tuple[np.ndarray, int, int]:
    """A tile of zeros for the outputs on a board, with a margin as wide as the kernel; a row's length, and the first
    output.

    Filters come last: so what a cell adds for each row of the kernel lies together, at the edges too.
    """
    high, wide = kernel
    line = (columns + 2 * (wide - 1)) * filters
    return np.zeros((rows + 2 * (high - 1)) * line, np.float32), line, (high - 1) * line + (wide - 1) * filters


@compiled
def _repeated(bias: np.ndarray, columns: int) -> np.ndarray:
    """The bias of a row of outputs."""
    row = np.empty(columns * len(bias), np.float32)
    for column in range(columns):
        row[column * len(bias) : (column + 1) * len(bias)] = bias
    return row


@compiled
def gather_cells(
    cells: np.ndarray, places: np.ndarray, weight: np.ndarray, kernel: tuple[int, int], filters: int,
    tile: np.ndarray, line: int,
) -> None:  # fmt: skip
    """Add to a board's tile what its set cells bring."""
    high, run = kernel[0], kernel[1] * filters
    for cell in cells:
        y, x, channel = places[cell]
        first, of_weight = (y + high - 1) * line + x * filters, channel * high * run
        for dy in range(high):
            for part in range(0, run, LANES):
                add(tile, first - dy * line + part, weight, of_weight + dy * run + part)


@compiled
def add_cells(
    cells: np.ndarray, places: np.ndarray, weight: np.ndarray, kernel: tuple[int, int], filters: int,
    tile: np.ndarray, line: int,
) -> None:  # fmt: skip
    """Add to the weights' gradient that of a board's tile, which its set cells have seen."""
    high, run = kernel[0], kernel[1] * filters
    for cell in cells:
        y, x, channel = places[cell]
        first, of_weight = (y + high - 1) * line + x * filters, channel * high * run
        for dy in range(high):
            for part in range(0, run, LANES):
                add(weight, of_weight + dy * run + part, tile, first - dy * line + part)


@compiled
def convolution(
    cells: np.ndarray, starts: np.ndarray, places: np.ndarray, weight: np.ndarray, bias: np.ndarray,
    kernel: tuple[int, int], out: np.ndarray, relu: bool,
) -> None:  # fmt: skip
    """A convolution of stride 1 without padding.

    Args:
        cells: of `cells.find`.
        starts: of `cells.find`.
        places: (size, 3), of each cell of a board its row, column and channel.
        weight: (channels, rows of the kernel, its columns from last to first, filters), flat; filters are a multiple of
            `LANES`.
        bias: (filters,).
        kernel: its rows and columns.
        out: (boards, filters, rows, columns).
        relu: whether a ReLU is behind it.
    """
    boards, filters, rows, columns = out.shape
    tile, line, inner = blank(filters, kernel, rows, columns)
    biases, close, flat = _repeated(bias, columns), np.empty(rows * columns * filters, np.float32), out.reshape(-1)
    for board in range(boards):
        tile[:] = 0
        gather_cells(cells[starts[board] : starts[board + 1]], places, weight, kernel, filters, tile, line)
        for row in range(rows):
            for part in range(0, columns * filters, LANES):
                if relu:
                    join_rectified(close, row * len(biases) + part, tile, inner + row * line + part, biases, part)
                else:
                    join(close, row * len(biases) + part, tile, inner + row * line + part, biases, part)
        swap_axes(flat, board * len(close), close, 0, rows * columns, filters)


@compiled
def convolution_gradient(
    cells: np.ndarray, starts: np.ndarray, places: np.ndarray, gradient: np.ndarray, out: np.ndarray, relu: bool,
    kernel: tuple[int, int], weight: np.ndarray, bias: np.ndarray,
) -> None:  # fmt: skip
    """Add to `weight` and `bias`, as in `convolution`, their gradients from that of its outputs.

    Those are looked at where a ReLU is behind it; then rows x columns are a multiple of `LANES`.
    """
    boards, filters, rows, columns = gradient.shape
    size = rows * columns
    tile, line, inner = blank(filters, kernel, rows, columns)
    close, flat, active = np.empty(size * filters, np.float32), gradient.reshape(-1), out.reshape(-1)
    for board in range(boards):
        if relu:
            swap_axes_where(close, flat, active, board * len(close), filters, size)
        else:
            swap_axes(close, 0, flat, board * len(close), filters, size)
        for place in range(size):
            for part in range(0, filters, LANES):
                add(bias, part, close, place * filters + part)
        for row in range(rows):
            for part in range(0, columns * filters, LANES):
                copy(tile, inner + row * line + part, close, row * columns * filters + part)
        add_cells(cells[starts[board] : starts[board + 1]], places, weight, kernel, filters, tile, line)


@compiled
def rectified(
    cells: np.ndarray, starts: np.ndarray, places: np.ndarray, weight: np.ndarray, bias: np.ndarray,
    kernel: tuple[int, int], out: np.ndarray,
) -> None:  # fmt: skip
    """As `convolution`, with ReLU behind it, rounded to bfloat16; `out` is its bits, int16, (boards, filters, rows,
    columns), of which rows x columns are a multiple of `LANES`.
    """
    boards, filters, rows, columns = out.shape
    size = rows * columns
    tile, line, inner = blank(filters, kernel, rows, columns)
    biases, close, flat = _repeated(bias, columns), np.empty(size * filters, np.float32), out.reshape(-1)
    for board in range(boards):
        tile[:] = 0
        gather_cells(cells[starts[board] : starts[board + 1]], places, weight, kernel, filters, tile, line)
        for row in range(rows):
            for part in range(0, columns * filters, LANES):
                join(close, row * len(biases) + part, tile, inner + row * line + part, biases, part)
        first = board * len(close)
        for place in range(0, size, LANES):
            for filter_ in range(0, filters, LANES):
                transpose_rectified(
                    flat, first + filter_ * size + place, size, close, place * filters + filter_, filters
                )


@compiled
def rectified_gradient(
    cells: np.ndarray, starts: np.ndarray, places: np.ndarray, gradient: np.ndarray, out: np.ndarray,
    kernel: tuple[int, int], weight: np.ndarray, bias: np.ndarray,
) -> None:  # fmt: skip
    """Add to `weight` and `bias`, as in `convolution`, their gradients from that of what `rectified` has given."""
    boards, filters, rows, columns = out.shape
    size = rows * columns
    tile, line, inner = blank(filters, kernel, rows, columns)
    close, flat, active = np.empty(size * filters, np.float32), gradient.reshape(-1), out.reshape(-1)
    of_board = np.empty(filters, np.float32)
    for board in range(boards):
        swap_axes_where(close, flat, active, board * len(close), filters, size)
        of_board[:] = 0  # summed up by boards: thousands of small numbers on one large one would be rounded off
        for place in range(size):
            for part in range(0, filters, LANES):
                add(of_board, part, close, place * filters + part)
        for part in range(0, filters, LANES):
            add(bias, part, of_board, part)
        for row in range(rows):
            for part in range(0, columns * filters, LANES):
                copy(tile, inner + row * line + part, close, row * columns * filters + part)
        add_cells(cells[starts[board] : starts[board + 1]], places, weight, kernel, filters, tile, line)
