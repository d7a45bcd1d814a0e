"""How many threads compute what is small, and what is large beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

SMALL = 2**25
"""Multiplications of a product from which a second thread pays for being woken.

Measured on two cores with threads that sleep while they wait: at 256 x 256 x 256 two make a product in 0.8 to 1.1 of
the time, and what lies between products, such as an activation function of 256 x 256 numbers, in ten times as long.
"""
WIDE = 2**18
"""Numbers between two layers from which a second thread pays for what is done to each of them."""
_held = threading.local()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread meanwhile, in the thread of Python's that enters this.

    Another one that computes for the first time while this lasts keeps one thread, too, unless it sets its own number:
    torch has a number for each thread, which begins as what was set last by any.
    """
    before, outer = torch.get_num_threads(), getattr(_held, "threads", 1)
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    _held.threads = before
    try:
        yield
    finally:
        _held.threads = outer
        torch.set_num_threads(before)


def threads() -> int:
    """How many torch computes with, within `one_thread` those that wait."""
    return max(getattr(_held, "threads", 1), torch.get_num_threads())


@contextmanager
def all_threads() -> Iterator[None]:
    """Within `one_thread` let torch compute with all of those that wait."""
    before = torch.get_num_threads()
    if before >= threads():
        yield
        return
    torch.set_num_threads(threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_for(multiplications: int) -> AbstractContextManager[Any]:
    """Around a product: within `one_thread` all of those that wait, where they pay."""
    return all_threads() if multiplications >= SMALL else nullcontext()


def is_large(x: Tensor, weight: Tensor) -> bool:
    """Whether the product of a linear layer is to be made by threads that wait."""
    return torch.get_num_threads() < threads() and x.dim() > 1 and x.numel() * len(weight) >= SMALL


class LargeLinear(torch.autograd.Function):
    """`torch.nn.functional.linear` with all threads, forward and backward: arguments x, weight and bias, or None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        with all_threads():
            return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows = gradient.flatten(0, -2)
        with all_threads():
            at_x = gradient @ weight if ctx.needs_input_grad[0] else None
            at_weight = rows.t() @ x.flatten(0, -2) if ctx.needs_input_grad[1] else None
        return at_x, at_weight, rows.sum(0) if ctx.needs_input_grad[2] else None


def few(parameters: Iterable[Tensor], batch: int) -> AbstractContextManager[Any]:
    """Around gradient steps on minibatches of so many rows: one thread, where layers between products are small."""
    widest = max((len(parameter) for parameter in parameters if parameter.dim()), default=0)
    return nullcontext() if batch * widest >= WIDE else one_thread()
