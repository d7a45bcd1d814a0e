"""A convolution on boards with a ReLU and a linear layer behind it, whose maps and products are bfloat16."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function

from agents.speed.boards import Boards, Cells, kernels
from agents.speed.kept import made_of
from agents.speed.sharing import spread, total
from agents.speed.sparse.convolutions import SHARED, turned
from agents.speed.sparse.first_layers import LANES, looked_at, sides
from agents.speed.threads import all_threads


def features(boards: Boards, weight: Tensor, bias: Tensor, linear_weight: Tensor, linear_bias: Tensor) -> Tensor | None:
    """A convolution as `convolution`, ReLU, and a linear layer over its maps; those are bfloat16, and so are products.

    Returns:
        (boards, units), float32; None where its layers have to be computed by themselves.
    """
    if has_torch_function((boards,)):  # `agents.speed.layers.Quick` decides whether it is; without that it never is
        answer: Tensor | None = handle_torch_function(
            features, (boards,), boards, weight, bias, linear_weight, linear_bias
        )
        return answer
    return None


def half_features(
    boards: Boards, weight: Tensor, bias: Tensor, linear_weight: Tensor, linear_bias: Tensor
) -> Tensor | None:
    """What `features` gives where it is to be computed so."""
    with torch._C.DisableTorchFunctionSubclass():
        found = looked_at(boards, weight, bias)
        if found is None or math.prod(sides(found[2], weight)) % LANES:
            return None
        out: Tensor = _Features.apply(  # type: ignore[no-untyped-call]
            weight, bias.contiguous(), linear_weight, linear_bias, *found
        )
        return out


class _Features(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, bias: Tensor, linear_weight: Tensor, linear_bias: Tensor, found: Cells,
        places: np.ndarray, bits: Tensor,
    ) -> Tensor:  # fmt: skip
        kernel = tuple(weight.shape[2:])
        given = made_of(weight, turned)
        maps = weight.new_empty(len(bits), len(weight), *sides(bits, weight), dtype=torch.int16)
        flat, added, into = given.numpy().ravel(), bias.detach().numpy(), maps.numpy()

        def work(boards: slice, starts: slice) -> Callable[[], object]:
            cells = found.cells, found.starts[starts]
            return partial(kernels().rectified, *cells, places, flat, added, kernel, into[boards])

        spread(len(bits), work, SHARED)
        half = linear_weight.to(torch.bfloat16)
        ctx.found, ctx.places, ctx.kernel, ctx.shape, ctx.maps = found, places, kernel, given.shape, maps
        ctx.save_for_backward(half)
        with all_threads():
            out = F.linear(maps.view(torch.bfloat16).flatten(1), half)
        return out.float().add_(linear_bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), found, maps = ctx.saved_tensors, ctx.found, ctx.maps
        half = gradient.to(torch.bfloat16)
        with all_threads():
            of_linear, of_maps = half.t() @ maps.view(torch.bfloat16).flatten(1), half @ weight
        given, out = of_maps.view(torch.int16).numpy(), maps.numpy()
        of_weights, of_biases = [], []

        def work(boards: slice, starts: slice) -> Callable[[], object]:
            of_weights.append(gradient.new_zeros(ctx.shape))
            of_biases.append(gradient.new_zeros(maps.shape[1]))
            return partial(
                kernels().rectified_gradient, found.cells, found.starts[starts], ctx.places, given[boards],
                out[boards], ctx.kernel, of_weights[-1].numpy().ravel(), of_biases[-1].numpy(),
            )  # fmt: skip

        spread(len(out), work, SHARED)
        of_weight, of_bias = total(of_weights), total(of_biases)
        return of_weight.flip(2).permute(3, 0, 1, 2), of_bias, of_linear.float(), gradient.sum(0), None, None, None
