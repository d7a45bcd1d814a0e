"""Minibatches of boards that are written from lists of their set cells are those that would be gathered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import small_ppo
import torch

from agents.buffers.boards import ListedBoards
from agents.speed import kernels
from agents.speed.boards import Boards


def some_boards(count: int = 12, share: float = 0.04) -> np.ndarray:
    boards = np.random.default_rng(0).random((count, 10, 10, 4)) < share
    boards[3] = False
    boards[5, 0, 0, 0] = boards[5, -1, -1, -1] = True
    return boards


def test_boards_are_written_with_their_set_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    boards = some_boards()
    listed = ListedBoards.of(boards)
    assert listed is not None
    rows = np.array([5, 3, 11, 0, 5])
    taken = listed.take(rows)
    assert taken.dtype == torch.bool
    assert np.array_equal(taken.numpy(), boards[rows])
    monkeypatch.setattr(kernels, "find", lambda *_: pytest.fail("they are known"))
    for read in (Boards.of(taken).flatten(1), Boards.of(taken).permute(0, 3, 1, 2)):
        flat = read.bits if read.dim() == 2 else read.bits.permute(0, 2, 3, 1)
        found = read.set_cells(flat)
        assert found is not None
        for row, board in enumerate(boards[rows]):
            assert found.cells[found.starts[row] : found.starts[row + 1]].tolist() == np.flatnonzero(board).tolist()


def test_cells_are_looked_for_again_where_somebody_has_written_or_reads_in_another_order() -> None:
    listed = ListedBoards.of(some_boards())
    assert listed is not None
    written, turned = listed.take(np.arange(4)), listed.take(np.arange(4))
    written[3, 0, 0, 1] = True
    copied = Boards.of(turned).permute(0, 3, 1, 2).contiguous()
    for read in (Boards.of(written).flatten(1), copied.flatten(1)):
        found = read.set_cells(read.bits)
        assert found is not None
        assert (
            found.cells[: found.starts[-1]].tolist()
            == np.concatenate([np.flatnonzero(row) for row in read.bits.numpy()]).tolist()
        )


def test_what_is_not_listed() -> None:
    boards = some_boards()
    assert ListedBoards.of(some_boards(share=0.2)) is None
    assert ListedBoards.of(boards.view(np.uint8)) is None
    assert ListedBoards.of(boards[:, ::2]) is None
    assert ListedBoards.of(boards[:0]) is None
    listed = ListedBoards.of(boards)
    assert listed is not None
    assert listed.take(np.array([], np.int64)).shape == (0, 10, 10, 4)
    for row in (-1, 12):
        with pytest.raises(IndexError, match=rf"^rows lie between {row} and {row}; there are 12$"):
            listed.take(np.array([row]))


@pytest.mark.parametrize("read_before", [False, True])
def test_minibatches_of_a_rollout_are_the_same(read_before: bool) -> None:
    buffer = small_ppo.build("board").rollout_buffer
    drawn = np.random.default_rng(1).random((buffer.buffer_size, buffer.n_envs, *buffer.obs_shape)) < 0.03
    numbers = torch.zeros(buffer.n_envs)
    for step, boards in enumerate(drawn):
        actions = np.full((buffer.n_envs, 1), step % 5)
        buffer.add(boards, actions, numbers.numpy(), numbers.numpy(), numbers, numbers)
    if read_before:
        next(buffer.get(8))

    def minibatches() -> list[Any]:
        np.random.seed(0)
        return [tensor for batch in buffer.get(24) for tensor in batch if tensor is not None]

    with buffer.listing_boards():
        listed = minibatches()
    gathered = minibatches()
    assert any(tensor.any() for tensor in listed[::6])
    assert len(listed) == len(gathered)
    assert all(map(torch.equal, listed, gathered))
