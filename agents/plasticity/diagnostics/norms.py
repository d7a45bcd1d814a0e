"""Sizes of weights, of their changes and of gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def flat(parameters: Iterable[Tensor]) -> Tensor:
    """A copy of all entries in one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def weight_norm(parameters: Iterable[Tensor]) -> Tensor:
    """Root of the mean square of all entries: it does not grow with the number of weights."""
    return flat(parameters).square().mean().sqrt()


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """Euclidean norm of all entries together."""
    total: Tensor = torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors]).norm()
    return total


def signal(gradients: Sequence[Tensor]) -> Tensor:
    """Mean over samples of the Euclidean norm of one sample's loss gradient at a network's last hidden activations.

    Zero where the loss tells the network nothing (a policy whose entropy has fallen to zero).

    Args:
        gradients: dL/da of a loss that is a mean over the batch, (batch, units) or (batch, channels, height, width);
            several where the network has several last layers.
    """
    together = torch.cat([gradient.flatten(1) for gradient in gradients], 1)
    norms: Tensor = torch.linalg.vector_norm(together, dim=1)
    # L is a mean: dL/da already holds 1/batch, so the mean over samples is a plain sum.
    return norms.sum()
