"""Linear layers on boards, by the cells that are set."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from agents.speed.boards import Boards, Cells, kernels
from agents.speed.kept import made_of
from agents.speed.sharing import at_once, shares, spread
from agents.speed.sparse.first_layers import LANES, are_numbers, dense_gradients, or_zeros, suits

FEW = 4096
"""Boards from which threads are woken for shares of them: 64 units of 1,024 boards take 0.24 ms, and half of them, with
waking, 0.34.
"""


class Stretches(NamedTuple):
    """What a linear layer sums up by itself before it is added.

    Attributes:
        inputs: so many in a row, forward.
        boards: so many in a row, for the gradient of the weights; None where there is none, as without a graph.
    """

    inputs: int
    boards: int | None


WHOLE = Stretches(2**31, 2**31)


def linear(boards: Boards, weight: Tensor, bias: Tensor | None, stretches: Stretches = WHOLE) -> Tensor | None:
    """A linear layer on (boards, size); None where dense ones are as fast."""
    with torch._C.DisableTorchFunctionSubclass():
        bits = boards.bits
        if bits.dim() != 2 or not bits.is_contiguous() or not suits(boards, weight, bias):
            return None
        found = boards.set_cells(bits)
        if found is None:
            return None
        added = or_zeros(bias, weight)
        if not torch.is_grad_enabled():
            return _sums(weight, added, found, stretches)
        out: Tensor = _Linear.apply(weight, added, bits, found, stretches)  # type: ignore[no-untyped-call]
        return out


def linear_gradients(
    found: Cells, gradient: Tensor, inputs: int, stretch: int = WHOLE.inputs
) -> tuple[Tensor, Tensor] | None:
    """Those of a linear layer's weight and bias from that of its outputs; None where it is no number everywhere.

    Args:
        found: the set cells of the boards that it has read.
        gradient: (boards, units).
        inputs: cells of a board.
        stretch: boards that are summed up by themselves.
    """
    units = gradient.shape[1]
    of_weight = gradient.new_zeros(inputs, units)
    given, into = gradient.contiguous().numpy().ravel(), of_weight.numpy().ravel()
    work = partial(kernels().linear_gradient, found.cells, found.starts, given, stretch, into, units)
    calls = [partial(work, LANES * first, LANES * end) for first, end in shares(units // LANES)]
    at_once(calls, pays=len(gradient) >= FEW)
    of_bias = gradient.sum(0)
    return (_transposed(of_weight), of_bias) if are_numbers(of_bias) else None


def _sums(weight: Tensor, bias: Tensor, found: Cells, stretches: Stretches) -> Tensor:
    """What a linear layer puts out, (boards, units)."""
    out = weight.new_empty(len(found.starts) - 1, weight.shape[0])
    given, added, into = made_of(weight, _transposed).numpy().ravel(), bias.detach().numpy(), out.numpy()

    def work(boards: slice, starts: slice) -> Callable[[], object]:
        outputs = into[boards].ravel()
        return partial(kernels().linear, found.cells, found.starts[starts], given, added, stretches.inputs, outputs)

    spread(out.shape[0], work, FEW)
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, bits: Tensor, found: Cells, stretches: Stretches) -> Tensor:
        out = _sums(weight, bias, found, stretches)
        ctx.found, ctx.bits, ctx.inputs, ctx.stretch = found, bits, weight.shape[1], stretches.boards
        ctx.save_for_backward(weight, bias)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            return *dense_gradients(F.linear, ctx.bits, ctx.saved_tensors, gradient), None, None, None
        learnt = linear_gradients(ctx.found, gradient, ctx.inputs, ctx.stretch)
        if learnt is None:
            return *dense_gradients(F.linear, ctx.bits, ctx.saved_tensors, gradient), None, None, None
        return *learnt, None, None, None


def _transposed(weight: Tensor) -> Tensor:
    """A contiguous copy, (units, inputs) as (inputs, units)."""
    units, inputs = weight.shape
    found = weight.new_empty(inputs, units)  # in blocks, a third of torch's time
    kernels().swap_axes(found.numpy().ravel(), 0, weight.contiguous().numpy().ravel(), 0, units, inputs)
    return found
