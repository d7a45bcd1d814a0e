"""Which first layers may be computed from set cells alone, what they look at, and gradients where they may not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.speed.boards import Boards, Cells
from agents.speed.kept import made_of

LANES = 16
"""Units or filters that the kernels take at once."""


def suits(boards: Boards, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the kernels can compute a layer: on CPUs, by sixteens of units or filters, with all that it looks at.

    The weights are finite: dense layers multiply those of unset cells by 0, which of infinity is no number.
    """
    bits, parameters = boards.bits, [weight] if bias is None else [weight, bias]
    plain = all(each.dtype is torch.float32 and each.is_cpu for each in parameters)
    if boards.is_changed or not plain or not bits.is_cpu or bits.numel() == 0 or weight.shape[0] % LANES:
        return False
    both = zip(bits.shape[2:], weight.shape[2:], strict=False)
    same = bits.dim() == weight.dim() and bits.shape[1] == weight.shape[1]
    same = same and all(side >= kernel for side, kernel in both) and (bias is None or bias.shape == weight.shape[:1])
    return same and made_of(weight, are_numbers)


def looked_at(boards: Boards, weight: Tensor, bias: Tensor | None) -> tuple[Cells, np.ndarray, Tensor] | None:
    """Set cells of (boards, channels, rows, columns), where those are, and the boards; None where dense ones pay."""
    bits = boards.bits
    if bits.dim() != 4 or not suits(boards, weight, bias):
        return None
    flat, order = (bits.permute(0, 2, 3, 1), "last") if are_last(bits) else (bits.contiguous(), "first")
    found = boards.set_cells(flat)
    return None if found is None else (found, places_of(order, *bits.shape[1:]), bits)


@cache
def places_of(order: str, channels: int, rows: int, columns: int) -> np.ndarray:
    """Of each cell of a board, in memory's order, its row, column and channel."""
    shape = (rows, columns, channels) if order == "last" else (channels, rows, columns)
    axes = np.indices(shape).reshape(3, -1)
    return np.ascontiguousarray((axes if order == "last" else axes[[1, 2, 0]]).T)


def sides(bits: Tensor, weight: Tensor) -> list[int]:
    """Rows and columns of a convolution's maps."""
    return [size - kernel + 1 for size, kernel in zip(bits.shape[2:], weight.shape[2:], strict=True)]


def is_plain(how: Sequence[Any], named: Mapping[str, Any]) -> bool:
    """Whether a convolution has a stride of 1, and neither padding, dilation nor groups."""
    given = dict(zip(("stride", "padding", "dilation", "groups"), how, strict=False)) | dict(named)
    usual = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    return all(
        all(part == usual[key] for part in (value if isinstance(value, tuple | list) else (value,)))
        for key, value in given.items()
    )


def are_last(bits: Tensor) -> bool:
    """Whether channels come last in the memory of (boards, channels, rows, columns), as in MinAtar's games."""
    return bits.permute(0, 2, 3, 1).is_contiguous()


def are_numbers(values: Tensor) -> bool:
    """Whether all are finite, on a CPU: a dense layer multiplies them by 0, which would be no number otherwise."""
    return math.isfinite(values.sum().numpy())


def or_zeros(bias: Tensor | None, weight: Tensor) -> Tensor:
    """A layer's bias, zeros where it has none."""
    return weight.new_zeros(len(weight)) if bias is None else bias.contiguous()


def dense_gradients(
    compute: Callable[..., Tensor], bits: Tensor, parameters: Sequence[Tensor], at_out: Tensor
) -> list[Tensor | None]:
    """Gradients of the parameters as torch computes them: to be differentiated again, or of what is no number."""
    floats, again = bits.view(torch.uint8).to(torch.float32), torch.is_grad_enabled()
    learnt = [each for each in parameters if each.requires_grad]  # neither frozen, nor zeros in place of a bias
    with torch.enable_grad():
        out = compute(floats, *parameters)
    found = iter(torch.autograd.grad(out, learnt, at_out, create_graph=again))
    return [next(found) if each.requires_grad else None for each in parameters]
