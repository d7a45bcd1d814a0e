"""Memory that is used again, but never while somebody holds it."""

import numpy as np

from envs.minatar.recycling import Boards


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_once_nobody_holds_it() -> None:
    boards = Boards(3, 10)
    first = boards()
    assert (first.shape, first.dtype) == ((3, 10, 10, 10), np.bool_)
    assert first.flags.writeable
    address = _address(first)
    second = boards()
    assert _address(second) != address
    del first
    assert _address(boards()) == address


def test_a_view_of_a_view_holds_it() -> None:
    boards = Boards(3, 10)
    first = boards()
    address = _address(first)
    part = first[1:].reshape(-1)[5:].view(np.uint8)
    del first
    assert _address(boards()) != address
    memory = memoryview(part)
    del part
    assert _address(boards()) != address
    del memory
    assert _address(boards()) == address


def test_little_memory_is_kept() -> None:
    boards = Boards(3, 10)
    held = [boards() for _ in range(20)]
    addresses = {_address(array) for array in held}
    held.clear()
    assert len(boards._free) == 4
    again = [boards() for _ in range(4)]
    assert {_address(array) for array in again} <= addresses
