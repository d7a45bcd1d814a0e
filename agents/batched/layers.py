"""Forward and backward of multilayer perceptrons of several agents at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from agents.batched.bank import Stacked


class Trace(NamedTuple):
    """What the backward of a layer needs: its input, and what stood before and behind its activation function."""

    x: Tensor
    before: Tensor
    behind: Tensor


def forward(layers: Sequence[Stacked], x: Tensor) -> tuple[Tensor, list[Trace]]:
    """What comes out of `x` (agents, batch, inputs), and what `backward` needs."""
    traces = []
    for weight, bias, dense in layers:
        turned = weight.transpose(1, 2)
        before = torch.bmm(x, turned) if bias is None else torch.baddbmm(bias, x, turned)
        behind = before if dense.activation is None else dense.activation(before)
        traces.append(Trace(x, before, behind))
        x = behind
    return x, traces


def backward(layers: Sequence[Stacked], traces: Sequence[Trace], gradient: Tensor, into: Sequence[Stacked]) -> None:
    """Gradients of the parameters, where `gradient` is that of what came out; put where `into` has them."""
    for number in reversed(range(len(layers))):
        (weight, _, dense), trace = layers[number], traces[number]
        if dense.activation is not None:
            gradient = dense.activation.backward(gradient, trace.before, trace.behind)
        torch.bmm(gradient.transpose(1, 2), trace.x, out=into[number].weight)
        bias = into[number].bias
        if bias is not None:
            torch.sum(gradient, 1, keepdim=True, out=bias)
        if number:
            gradient = torch.bmm(gradient, weight)
