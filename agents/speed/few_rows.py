"""Networks of linear layers asked about some tens of rows, as in rollouts: all but the first layer in one call."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from agents.speed import sparse
from agents.speed.boards import Boards, kernels
from agents.speed.perceptrons import Dense, Perceptrons
from agents.speed.sparse import LANES

MOST = 2**20
"""Multiplications behind the first layer up to which loops take less time than what is around MKL's products."""


@torch.no_grad()
def outputs(network: Perceptrons, x: Tensor) -> Tensor:
    """What a single network gives, (rows, outputs), without a graph.

    Args:
        network: of which `Perceptrons.layers` hold one.
        x: (rows, inputs).
    """
    first, *behind = (same[0] for same in network.layers)
    if network.dtype is not torch.float32 or not _are_known(first, behind, len(x)):
        found: Tensor = network(x)[0]
        return found
    assert first.activation is not None
    (linear,) = first.linears
    before = sparse.linear(x, linear.weight, linear.bias) if isinstance(x, Boards) else None
    if before is None:
        before = F.linear(x, linear.weight, linear.bias)
    weights = tuple(layer.weights[0].detach().contiguous().numpy() for layer in behind)
    biases = tuple(layer.biases[0].detach().contiguous().numpy() for layer in behind)
    found = before.new_empty(len(before), len(weights[-1]))
    kernels().follow(before.numpy(), weights, biases, kernels().ACTIVATIONS[first.activation.kind], found.numpy())
    return found


def _are_known(first: Dense, behind: list[Dense], rows: int) -> bool:
    """Whether the loops know the layers, and are quicker than products with what is around them."""
    if kernels() is None or not behind or first.activation is None or behind[-1].activation is not None:
        return False
    if any(len(layer.linears) > 1 or not layer.biases for layer in (first, *behind)):
        return False
    alike = all(layer.activation == first.activation for layer in behind[:-1])
    known = alike and first.activation.kind in kernels().ACTIVATIONS and len(first.weights[0]) % LANES == 0
    return known and rows * sum(layer.weights[0].numel() for layer in behind) <= MOST
