"""Memory that an update frees stays with the process, and the next one takes it from there."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
MAPPED = (128 * 2**20, 32 * 2**20)
"""Bytes from which a block is mapped for itself and given back when it is freed; older versions take the second."""
KEPT = 256 * 2**20
"""The most bytes that stay free at the end of the heap."""
SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
"""Variables by which users settle this themselves."""


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed; nothing is changed elsewhere, nor where one of `SETTINGS` is set.

    Left to itself glibc gives the end of the heap back to the system once it is larger than twice the largest block
    that has been freed. A backward frees all that its forward has kept, and the next forward gets it again page by
    page, each cleared by the kernel: up to a quarter of the time of PPO's updates on MinAtar, by how the heap happens
    to lie. What is computed is the same, and the most memory that is held nearly so: blocks of 1 to 120 MB that came
    and went at random took 4% more. But what lies in the heap below something that is still held stays, too, beyond
    `KEPT`; all of it is used again.

    Returns:
        whether it does.
    """
    if sys.platform != "linux" or any(name in os.environ for name in SETTINGS):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None or not any(mallopt(M_MMAP_THRESHOLD, size) for size in MAPPED):
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, KEPT))
