"""Calls that are made at once: in their order, on no more threads than torch computes with."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch

from agents.speed import sharing
from agents.speed.sharing import at_once


@pytest.mark.parametrize(("pays", "number"), [(True, 2), (False, 1)])
def test_many_calls_share_the_threads_that_torch_computes_with(pays: bool, number: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = at_once([partial(lambda call: (call, threading.get_ident()), call) for call in range(5)], pays=pays)
    finally:
        torch.set_num_threads(before)
    assert [call for call, _ in found] == [0, 1, 2, 3, 4]
    assert len({thread for _, thread in found}) == number
    assert found[0][1] == threading.get_ident()


def test_what_fails_in_another_thread_is_raised_here() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            at_once([lambda: 1.0, lambda: 1 / 0], pays=True)
    finally:
        torch.set_num_threads(before)


def test_where_no_thread_can_be_begun_all_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that goes on learning when the main one has ended."""
    ended = ThreadPoolExecutor(1)
    ended.shutdown()
    monkeypatch.setattr(sharing, "_pool", lambda _size: ended)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = at_once([partial(lambda call: (call, threading.get_ident()), call) for call in range(5)], pays=True)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert found == [(call, threading.get_ident()) for call in range(5)]
