"""First layers that are linear, on boards of which few cells are set: compiled loops over those.

What a loop adds up it adds in memory's order of the cells, board after board: `agents.speed.order` says where dense
layers do so, too, and with which stretches summed up by themselves.
"""

from __future__ import annotations

import numpy as np

from agents.speed.kernels.compiling import compiled
from agents.speed.vectors import LANES, WIDE, add, copy, gather, gather_wide


@compiled
def linear(
    cells: np.ndarray, starts: np.ndarray, weight: np.ndarray, bias: np.ndarray, stretch: int, out: np.ndarray
) -> None:
    """A linear layer.

    Args:
        cells: of `cells.find`.
        starts: of `cells.find`.
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
        cells: of `cells.find`.
        starts: of `cells.find`.
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
