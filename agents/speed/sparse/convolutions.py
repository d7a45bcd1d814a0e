"""Convolutions on boards, by the cells that are set, perhaps with a ReLU behind them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function

from agents.speed.boards import Boards, Cells, kernels
from agents.speed.kept import made_of
from agents.speed.sharing import spread, total
from agents.speed.sparse.first_layers import LANES, are_numbers, dense_gradients, looked_at, or_zeros, sides

SHARED = 512
"""Boards from which threads are woken for shares of them."""


def convolution(boards: Boards, weight: Tensor, bias: Tensor | None, *, relu: bool = False) -> Tensor | None:
    """A convolution of stride 1 without padding, on (boards, channels, rows, columns); None where dense ones pay.

    Args:
        boards: what it reads.
        weight: (filters, channels, rows, columns).
        bias: (filters,), or None.
        relu: whether a ReLU is behind it; None is returned where it has to be computed by itself.
    """
    with torch._C.DisableTorchFunctionSubclass():
        found = looked_at(boards, weight, bias)
        if found is None or (relu and math.prod(sides(found[2], weight)) % LANES):
            return None
        given = weight, or_zeros(bias, weight), *found, relu
        if not torch.is_grad_enabled():
            return _maps(*given)
        out: Tensor = _Convolution.apply(*given)  # type: ignore[no-untyped-call]
        return out


def rectified(boards: Boards, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """A convolution as `convolution` with a ReLU behind it; None where these have to be computed by themselves."""
    if has_torch_function((boards,)):  # as of `features`; to the last bit where it does not
        answer: Tensor | None = handle_torch_function(rectified, (boards,), boards, weight, bias)
        return answer
    return None


def turned(weight: Tensor) -> Tensor:
    """A convolution's as (channels, rows, columns, filters), the columns from the last to the first."""
    return weight.permute(1, 2, 3, 0).flip(2).contiguous()


def _maps(weight: Tensor, bias: Tensor, found: Cells, places: np.ndarray, bits: Tensor, relu: bool) -> Tensor:
    """What a convolution puts out, (boards, filters, rows, columns)."""
    out = weight.new_empty(len(bits), len(weight), *sides(bits, weight))
    flat, added, into = made_of(weight, turned).numpy().ravel(), bias.detach().numpy(), out.numpy()
    kernel = tuple(weight.shape[2:])

    def work(boards: slice, starts: slice) -> Callable[[], object]:
        cells = found.cells, found.starts[starts]
        return partial(kernels().convolution, *cells, places, flat, added, kernel, into[boards], relu)

    spread(len(bits), work, SHARED)
    return out


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, bias: Tensor, found: Cells, places: np.ndarray, bits: Tensor, relu: bool
    ) -> Tensor:
        out = _maps(weight, bias, found, places, bits, relu)
        filters, channels, *kernel = weight.shape
        ctx.found, ctx.places, ctx.kernel, ctx.bits = found, places, tuple(kernel), bits
        ctx.relu, ctx.shape = relu, (channels, *kernel, filters)
        ctx.save_for_backward(weight, bias, *((out,) if relu else ()))
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, bias, *outs = ctx.saved_tensors

        def layer(floats: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            out: Tensor = F.conv2d(floats, weight, bias)
            return out.relu() if ctx.relu else out

        if torch.is_grad_enabled():
            return *dense_gradients(layer, ctx.bits, (weight, bias), gradient), None, None, None, None
        gradient = gradient.contiguous()
        given = gradient.numpy()
        out = outs[0].numpy() if outs else given
        of_weights, of_biases = [], []

        def work(boards: slice, starts: slice) -> Callable[[], object]:
            of_weights.append(gradient.new_zeros(ctx.shape))
            of_biases.append(gradient.new_zeros(len(weight)))
            return partial(
                kernels().convolution_gradient, ctx.found.cells, ctx.found.starts[starts], ctx.places, given[boards],
                out[boards], ctx.relu, ctx.kernel, of_weights[-1].numpy().ravel(), of_biases[-1].numpy(),
            )  # fmt: skip

        spread(len(given), work, SHARED)
        of_weight, of_bias = total(of_weights), total(of_biases)
        if not are_numbers(of_bias):
            return *dense_gradients(layer, ctx.bits, (weight, bias), gradient), None, None, None, None
        return of_weight.flip(2).permute(3, 0, 1, 2).contiguous(), of_bias, None, None, None, None
