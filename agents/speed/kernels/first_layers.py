"""First layers on boards of zeros and ones, of which few are set: compiled loops over those.

Of MinAtar's 1,000 cells 6 to 50 are set, so that a dense convolution multiplies by zero 95 times of 100. A convolution
adds, for each set cell, the filters' weights to the outputs that see it, and its gradient is gathered in the same way:
on 1,024 boards 2 ms where dense ones take 8 in float32 and 5 in bfloat16, forward and backward, on one core.

What a loop adds up it adds in memory's order of the cells, board after board: `agents.speed.order` says where dense
layers do so, too, and with which stretches summed up by themselves.
"""

from __future__ import annotations

import numpy as np

from agents.speed.kernels.compiling import compiled
from agents.speed.vectors import (
    LANES,
    WIDE,
    add,
    copy,
    gather,
    gather_wide,
    join,
    join_rectified,
    transpose,
    transpose_rectified,
    transpose_where,
)  # fmt: skip

WORD = 8
"""Bytes that are looked at together: most hold nothing."""


@compiled
def swap_axes(target: np.ndarray, at: int, source: np.ndarray, offset: int, rows: int, columns: int) -> None:
    """``target[at:]`` as (columns, rows) from ``source[offset:]`` as (rows, columns)."""
    whole_rows, whole_columns = rows - rows % LANES, columns - columns % LANES
    for row in range(0, whole_rows, LANES):
        for column in range(0, whole_columns, LANES):
            transpose(target, at + column * rows + row, rows, source, offset + row * columns + column, columns)
    for row in range(rows):
        for column in range(whole_columns if row < whole_rows else 0, columns):
            target[at + column * rows + row] = source[offset + row * columns + column]


@compiled
def find(boards: np.ndarray, cells: np.ndarray, starts: np.ndarray) -> int:
    """The set cells of all boards, at most as many as `cells` holds.

    Args:
        boards: bytes, (boards, size), contiguous.
        cells: where the places of the set cells within their boards are written, board after board.
        starts: (boards + 1,), where the place of each board's first one in `cells` is written.

    Returns:
        how many are set, or -1 where `cells` is too small.
    """
    found, room, size = 0, len(cells), boards.shape[1]
    words = size // WORD
    for board in range(len(boards)):
        starts[board] = found
        if found + size > room:  # rarely: are there so many?
            count = 0
            for cell in range(size):
                count += boards[board, cell] != 0
            if found + count > room:
                return -1
        for word in range(words):
            first = WORD * word
            any_set = 0
            for cell in range(first, first + WORD):
                any_set |= boards[board, cell]
            if any_set:
                for cell in range(first, first + WORD):
                    if boards[board, cell]:
                        cells[found] = cell
                        found += 1
        for cell in range(WORD * words, size):
            if boards[board, cell]:
                cells[found] = cell
                found += 1
    starts[len(boards)] = found
    return found


@compiled
def take(
    rows: np.ndarray, cells: np.ndarray, starts: np.ndarray, boards: np.ndarray, taken: np.ndarray,
    taken_starts: np.ndarray,
) -> None:  # fmt: skip
    """Write some boards from their set cells.

    Args:
        rows: numbers of those boards.
        cells: of all boards, of `find`.
        starts: of `find`.
        boards: bytes, (rows, size), where they are written.
        taken: where their set cells are written.
        taken_starts: (rows + 1,), where the place of each one's first cell in `taken` is written.
    """
    boards[:] = 0
    at = 0
    for number in range(len(rows)):
        taken_starts[number] = at
        for place in range(starts[rows[number]], starts[rows[number] + 1]):
            boards[number, cells[place]] = 1
            taken[at] = cells[place]
            at += 1
    taken_starts[len(rows)] = at


@compiled
def _swap_axes_where(
    target: np.ndarray, source: np.ndarray, active: np.ndarray, offset: int, rows: int, columns: int
) -> None:
    """`target` as (columns, rows), multiples of `LANES`, from ``source[offset:]`` where `active` is not 0, else 0."""
    for row in range(0, rows, LANES):
        for column in range(0, columns, LANES):
            at = offset + row * columns + column
            transpose_where(target, column * rows + row, rows, source, active, at, columns)


@compiled
def linear(
    cells: np.ndarray, starts: np.ndarray, weight: np.ndarray, bias: np.ndarray, stretch: int, out: np.ndarray
) -> None:
    """A linear layer.

    Args:
        cells: of `find`.
        starts: of `find`.
        weight: (size, units), flat; units are a multiple of `LANES`.
        bias: (units,).
        stretch: inputs that are summed up by themselves.
        out: (boards, units), flat.
    """
    units, size = len(bias), len(weight) // len(bias)
    wide = units - units % (WIDE * LANES)
    for board in range(len(starts) - 1):
        at, number, stop = board * units, starts[board], starts[board + 1]
        for part in range(0, units, LANES):
            copy(out, at + part, bias, part)
        while number < stop:
            last = stop  # of the stretch
            if stretch < size:
                last, end = number + 1, (cells[number] // stretch + 1) * stretch
                while last < stop and cells[last] < end:
                    last += 1
            for part in range(0, wide, WIDE * LANES):
                gather_wide(out, at + part, weight, units, part, cells, number, last)
            for part in range(wide, units, LANES):
                gather(out, at + part, weight, units, part, cells, number, last)
            number = last


@compiled
def linear_gradient(
    cells: np.ndarray, starts: np.ndarray, gradient: np.ndarray, stretch: int, weight: np.ndarray, units: int,
    first: int, end: int,
) -> None:  # fmt: skip
    """Write to `weight`, zeros as in `linear`, its gradient from that of the outputs, for the units from `first` on.

    Args:
        cells: of `find`.
        starts: of `find`.
        gradient: (boards, units), flat.
        stretch: boards that are summed up by themselves.
        weight: (size, units), flat.
        units: of the layer.
        first: of the units, a multiple of `LANES`.
        end: the last one's successor, a multiple of `LANES`.
    """
    boards, width = len(starts) - 1, end - first
    size = len(weight) // units
    tile = np.zeros(size * width if boards > stretch else 0, np.float32)
    for board in range(boards):
        for number in range(starts[board], starts[board + 1]):
            for part in range(0, width, LANES):
                source = board * units + first + part
                if board < stretch:
                    add(weight, cells[number] * units + first + part, gradient, source)
                else:
                    add(tile, cells[number] * width + part, gradient, source)
        if board >= stretch and ((board + 1) % stretch == 0 or board + 1 == boards):
            for cell in range(size):
                for part in range(0, width, LANES):
                    add(weight, cell * units + first + part, tile, cell * width + part)
            tile[:] = 0


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
        cells: of `find`.
        starts: of `find`.
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
            _swap_axes_where(close, flat, active, board * len(close), filters, size)
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
        _swap_axes_where(close, flat, active, board * len(close), filters, size)
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
