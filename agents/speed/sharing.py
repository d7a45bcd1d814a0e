"""Compiled loops on as many threads as torch computes with."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from itertools import pairwise
from typing import TypeVar

from torch import Tensor

from agents.speed.threads import one_thread, threads

Found = TypeVar("Found")


def shares(count: int, *, least: int = 1) -> list[tuple[int, int]]:
    """What each of torch's threads does of so many things, first and end, `least` or more: as oneDNN deals them out."""
    number = max(min(threads(), count // least), 1)
    small, more = divmod(count, number)
    ends = [share * small + min(share, more) for share in range(number + 1)]
    return list(pairwise(ends))


def at_once(calls: Sequence[Callable[[], Found]], *, pays: bool) -> list[Found]:
    """Make calls that leave the interpreter lock, where that pays on as many threads as torch computes with.

    The first ones are made here; torch computes with one thread in each of the other threads.
    """
    first, *others = [calls[start:end] for start, end in shares(len(calls)) if start < end] if pays else [calls]
    waiting: list[Future[list[Found]]] = []
    with suppress(RuntimeError):  # once the main thread has ended Python begins no others: what is left is done here
        for part in others:
            waiting.append(_pool(len(others)).submit(_alone, part))
    try:
        found = [call() for call in first]
        last = [each for part in others[len(waiting) :] for each in _alone(part)]
    finally:
        for each in waiting:
            each.exception()  # waits: none goes on where this one has ended
    return [*found, *(each for part in waiting for each in part.result()), *last]


def spread(count: int, work: Callable[[slice, slice], Callable[[], object]], least: int) -> None:
    """Work on shares of so many boards, `least` from which it pays: the boards, and where their cells start."""
    calls = [work(slice(first, end), slice(first, end + 1)) for first, end in shares(count)]
    at_once(calls, pays=count >= least)


def total(parts: Sequence[Tensor]) -> Tensor:
    """The sum of what shares have added up, in their order."""
    found, *others = parts
    for other in others:
        found += other
    return found


def _alone(calls: Sequence[Callable[[], Found]]) -> list[Found]:
    with one_thread():
        return [call() for call in calls]


@cache
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="agents.speed")


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
