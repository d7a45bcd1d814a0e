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
    for layer in layers:
        before = _affine(layer, x)
        behind = before if layer.dense.activation is None else layer.dense.activation(before)
        traces.append(Trace(x, before, behind))
        x = behind
    return x, traces


def outputs(layers: Sequence[Stacked], x: Tensor) -> Tensor:
    """What comes out of `x` (agents, batch, inputs)."""
    for layer in layers:
        x = _affine(layer, x) if layer.dense.activation is None else layer.dense.activation(_affine(layer, x))
    return x


def _affine(layer: Stacked, x: Tensor) -> Tensor:
    turned = layer.weight.transpose(1, 2)
    return torch.bmm(x, turned) if layer.bias is None else torch.baddbmm(layer.bias, x, turned)


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
