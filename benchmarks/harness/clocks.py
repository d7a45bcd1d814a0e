"""Times of what a side does within a repetition, where not all of that counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Times: TypeAlias = NDArray[np.float64]
"""Seconds by the clock, and of processor time."""


def timed(call: Callable[[], Any]) -> Times:
    """What a call takes."""
    processor, start = time.process_time(), time.perf_counter()
    call()
    return np.array([time.perf_counter() - start, time.process_time() - processor])


def least(times: Iterable[Times]) -> Times:
    """The least of some: what disturbs one only adds to it."""
    found: Times = np.array([*times]).min(axis=0)
    return found


def middle(times: Iterable[Times]) -> Times:
    """The median of some."""
    found: Times = np.median(np.array([*times]), axis=0)
    return found
