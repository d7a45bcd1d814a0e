"""Compiled loops on as many threads as torch computes with."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TypeVar

from agents.speed.threads import one_thread, threads

Found = TypeVar("Found")


def shares(count: int) -> list[tuple[int, int]]:
    """What each of torch's threads does of so many things, first and end: as oneDNN deals them out."""
    number = max(min(threads(), count), 1)
    small, more = divmod(count, number)
    ends = [share * small + min(share, more) for share in range(number + 1)]
    return list(pairwise(ends))


def at_once(calls: Sequence[Callable[[], Found]], *, pays: bool) -> list[Found]:
    """Make calls that leave the interpreter lock, each on a thread of its own where that pays; the first one here.

    Torch computes with one thread in each of the others.
    """
    if len(calls) < 2 or not pays:
        return [call() for call in calls]
    others = [_pool(len(calls) - 1).submit(_alone, call) for call in calls[1:]]
    try:
        first = calls[0]()
    finally:
        for other in others:
            other.exception()  # waits: none goes on where this one has ended
    return [first, *(other.result() for other in others)]


def _alone(call: Callable[[], Found]) -> Found:
    with one_thread():
        return call()


@cache
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="agents.speed")


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
