"""Compiled loops on as many threads as torch computes with."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

from agents.speed.threads import threads


def shares(count: int) -> list[tuple[int, int]]:
    """What each of torch's threads does of so many things, first and end: as oneDNN deals them out."""
    number = max(min(threads(), count), 1)
    small, more = divmod(count, number)
    ends = [share * small + min(share, more) for share in range(number + 1)]
    return list(pairwise(ends))


def at_once(calls: Sequence[Callable[[], object]], *, pays: bool) -> None:
    """Make calls that leave the interpreter lock, each on a thread of its own where that pays; the first one here."""
    if len(calls) < 2 or not pays:
        for call in calls:
            call()
        return
    others = [_pool(len(calls) - 1).submit(call) for call in calls[1:]]
    calls[0]()
    for other in others:
        other.result()


@cache
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="agents.speed")


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
