"""How many threads compute what is small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 2**25
"""Multiplications of a product from which a second thread pays for being woken.

Measured on two cores with threads that sleep while they wait: at 256 x 256 x 256 two make a product in 0.8 to 1.1 of
the time, and what lies between products, such as an activation function of 256 x 256 numbers, in ten times as long.
"""


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread meanwhile, as far as the thread is concerned that enters this."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
