"""Matrices with their axes swapped."""

from __future__ import annotations

import numpy as np

from agents.speed.kernels.compiling import compiled
from agents.speed.vectors import LANES, transpose, transpose_where


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
def swap_axes_where(
    target: np.ndarray, source: np.ndarray, active: np.ndarray, offset: int, rows: int, columns: int
) -> None:
    """`target` as (columns, rows), multiples of `LANES`, from ``source[offset:]`` where `active` is not 0, else 0."""
    for row in range(0, rows, LANES):
        for column in range(0, columns, LANES):
            at = offset + row * columns + column
            transpose_where(target, column * rows + row, rows, source, active, at, columns)
