"""Penalties whose gradients are known: no graph of their computation is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def with_gradients(value: Tensor, tensors: Sequence[Tensor], gradients: Callable[[Tensor], Sequence[Tensor]]) -> Tensor:
    """A scalar that a backward pass treats as a function of the tensors.

    Args:
        value: the scalar, which may have been computed without gradients.
        tensors: that it depends on.
        gradients: the gradient that reaches the scalar -> those that reach the tensors; called at most once.
    """
    found: Tensor = _Known.apply(value, gradients, *tensors)  # type: ignore[no-untyped-call]
    return found


class _Known(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Callable[[Tensor], Sequence[Tensor]], *_tensors: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *reached: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, *ctx.gradients(reached[0]))
