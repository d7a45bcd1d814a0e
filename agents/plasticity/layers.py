"""Activation functions that torch lacks, made to keep whole networks plastic.

Some put out several values for each unit: they fold, and what reads the units is wider. With n units coming in, 2n
features go out along the features' axis (1 of a map of channels, else the last): unit i owns the features i and n + i,
which share its incoming weights, and a reset replaces both.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from agents.plasticity.validation import check


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


class SmoothLeaky(nn.Module):
    """Smooth-Leaky: phi(z) = a z + (1 - a) z sigmoid(k z) (Lillo and Cheney, arXiv 2509.22562, equation 1).

    A leaky ReLU without its kink: far below 0 the slope is a, far above it is 1, and between them nothing jumps. The
    paper writes k as c / p. We know the equation and the constants of its figure 5 (a = 0.1, c = 5, p = 3) from others'
    reading of the paper; which of them its experiments in reinforcement learning took, we could not read.

    Args:
        slope: a, of values far below 0; 1 makes the function linear.
        steepness: k, of the passage between the slopes.

    Example::

        nn.Sequential(nn.Linear(4, 64), SmoothLeaky(), nn.Linear(64, 2))
    """

    def __init__(self, slope: float = 0.1, steepness: float = 5 / 3) -> None:
        super().__init__()
        check("slope", slope, 0 <= slope <= 1, "a number from 0 to 1")
        check("steepness", steepness, steepness > 0, "a number above 0")
        self.slope, self.steepness = slope, steepness

    def forward(self, z: Tensor) -> Tensor:
        """Of any shape, which stays."""
        return self.slope * z + (1 - self.slope) * z * torch.sigmoid(self.steepness * z)

    def extra_repr(self) -> str:
        return f"slope={self.slope}, steepness={self.steepness:.4g}"


class AID(nn.Module):
    """Activation by interval-wise dropout (Park et al., arXiv 2502.01342), the simplified form of its algorithm 2.

    In training each value is kept as ReLU has it with probability p, max(z, 0), and else as its mirror image has it,
    min(z, 0): values above 0 are dropped with probability 1 - p, those below 0 with p. None is scaled. In evaluation
    mode it is what training gives on average: p z above 0, and (1 - p) z below. What is learnt so is drawn to a linear
    network, which loses no plasticity. With p = 1 it is ReLU, bit for bit, and draws nothing.

    Other values are drawn in each forward in training mode, from torch's global generator. The paper could not be read
    in full: equation and algorithm are as others tell them, and so are its values of p, 0.99 to 0.999 in reinforcement
    learning and 0.7 to 0.99 in classification, of which ours is the smallest of the former.

    Args:
        p: probability of ReLU, from 0.5, where the network is linear on average, to 1.

    Example::

        nn.Sequential(nn.Linear(4, 64), AID(), nn.Linear(64, 2))
    """

    def __init__(self, p: float = 0.99) -> None:
        super().__init__()
        check("p", p, 0.5 <= p <= 1, "a probability from 0.5 to 1")
        self.p = p

    def forward(self, z: Tensor) -> Tensor:
        """Of any shape, which stays."""
        if self.training and self.p < 1:
            return torch.where(torch.rand_like(z, dtype=torch.float32) < self.p, z.relu(), z.clamp(max=0))
        return self.p * z.relu() + (1 - self.p) * z.clamp(max=0)

    def extra_repr(self) -> str:
        return f"p={self.p}"


FOLDING = (CReLU, Fourier)
"""Those whose values are told apart by unit; a subclass may put out anything."""
OWN = (*FOLDING, SmoothLeaky, AID)
"""All of them, and no subclass."""
DRAWING = (AID, nn.Dropout)
"""What draws at random in training mode."""


def fold_of(activation: object) -> int:
    """How many features an activation function, a module or its class, puts out for each unit."""
    kind = kind_of(activation)
    return kind.fold if issubclass(kind, Folding) else 1


def kind_of(activation: object) -> type[Any]:
    """The class of an activation function that is given as a module, as its class, or as a `partial` of that."""
    given = activation.func if isinstance(activation, partial) else activation
    return given if isinstance(given, type) else type(given)


def _axis(z: Tensor) -> int:
    return 1 if z.dim() == 4 else -1
