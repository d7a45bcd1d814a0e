"""The set cells of boards of zeros and ones, of which few are set: of MinAtar's 1,000 6 to 50."""

from __future__ import annotations

import numpy as np

from agents.speed.kernels.compiling import compiled

WORD = 8
"""Bytes that are looked at together: most hold nothing."""


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
