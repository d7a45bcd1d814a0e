"""Activation functions that put out several values for each unit: they fold, and what reads the units is wider.

With n units coming in, 2n features go out along the features' axis (1 of a map of channels, else the last): unit i owns
the features i and n + i, which share its incoming weights, and a reset replaces both.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class Folding(nn.Module):
    """An activation function that puts out `fold` values for each unit."""

    fold: ClassVar[int] = 2


class CReLU(Folding):
    """Concatenated ReLU: phi(z) = [max(z, 0), max(-z, 0)] (Shang et al., arXiv 1603.05201).

    A unit is never silent unless z is 0, so that its gradient does not vanish; it keeps deep Q-networks plastic (Abbas
    et al., arXiv 2303.07507). Exactly half of the features are above 0, whatever is learned: the share of active
    features says nothing here, while dormancy, which is a unit's, does.

    Example::

        nn.Sequential(nn.Linear(4, 64), CReLU(), nn.Linear(128, 2))
    """

    def forward(self, z: Tensor) -> Tensor:
        """(batch, n) -> (batch, 2n), or maps (batch, n, height, width) -> (batch, 2n, height, width)."""
        return torch.cat([z.relu(), (-z).relu()], _axis(z))


class Fourier(Folding):
    """Deep Fourier features: phi(z) = [sin z, cos z] (Lewandowski et al., arXiv 2410.20634).

    Wherever z lies, one of the two has a slope of at least 0.707, so that no unit saturates, and none is dormant. A
    unit that is held at 0 leaves a cosine of 1 out: no unit can be replaced without changing what is computed.

    Example::

        nn.Sequential(nn.Linear(4, 64), Fourier(), nn.Linear(128, 2))
    """

    def forward(self, z: Tensor) -> Tensor:
        """(batch, n) -> (batch, 2n), or maps (batch, n, height, width) -> (batch, 2n, height, width)."""
        return torch.cat([z.sin(), z.cos()], _axis(z))


FOLDING = (CReLU, Fourier)
"""Those whose values are told apart by unit; a subclass may put out anything."""


def fold_of(activation: object) -> int:
    """How many features an activation function, a module or its class, puts out for each unit."""
    kind = activation if isinstance(activation, type) else type(activation)
    return kind.fold if issubclass(kind, Folding) else 1


def _axis(z: Tensor) -> int:
    return 1 if z.dim() == 4 else -1
