"""Boards of a rollout as lists of their set cells, of which minibatches are written."""

from __future__ import annotations

from math import prod
from typing import Self

import numpy as np
import torch
from torch import Tensor

from agents.speed.boards import Cells, cells_of, kernels, listed


class ListedBoards:
    """Boards of bools, few of which are set.

    Gathering a minibatch of boards, each of them from elsewhere in memory, and looking for its set cells takes as long
    as the layer that reads them. Lists are a tenth of the memory, and are looked for once for all minibatches.

    Args:
        shape: of a board.
        cells: those that are set.
    """

    def __init__(self, shape: tuple[int, ...], cells: Cells) -> None:
        self._shape = shape
        self._cells = cells

    @classmethod
    def of(cls, boards: np.ndarray) -> Self | None:
        """Bools (boards, ...), contiguous; None of numbers, where many are set, and where nothing is compiled."""
        if boards.dtype != np.bool_ or boards.ndim < 2 or not boards.size or not boards.flags.c_contiguous:
            return None
        found = cells_of(boards.reshape(len(boards), -1).view(np.uint8))
        return None if found is None else cls(boards.shape[1:], found)

    def take(self, rows: np.ndarray) -> Tensor:
        """The boards of these rows as bools (rows, ...), of which it is known which cells are set.

        Raises:
            IndexError: there are no such rows.
        """
        cells, starts = self._cells
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(starts) - 1:
            raise IndexError(f"rows lie between {rows.min()} and {rows.max()}; there are {len(starts) - 1}")
        found = int((starts[rows + 1] - starts[rows]).sum())
        taken = Cells(np.empty(found, np.int32), np.empty(len(rows) + 1, np.int64))
        # On the CPU, also where another device is torch's default.
        boards = torch.empty(len(rows), *self._shape, dtype=torch.bool, device="cpu")
        kernels().take(rows, cells, starts, boards.view(len(rows), prod(self._shape)).view(torch.uint8).numpy(), *taken)
        return listed(boards, taken)
