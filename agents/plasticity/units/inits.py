"""How a layer drew its weights when it was built; a reset draws them so again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn


class Statistics(NamedTuple):
    """Mean and standard deviation of an entry."""

    mean: float
    deviation: float


ZERO = Statistics(0.0, 0.0)


class Init(Protocol):
    """How the weight and the bias of a module are drawn."""

    def draw(self, module: nn.Module, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """New weight and bias of `module`'s shapes, on the CPU, with `generator` alone."""

    def statistics(self, module: nn.Module) -> tuple[Statistics, Statistics]:
        """What the entries of weights and of biases are like over many draws; without a draw."""


@dataclass(frozen=True)
class Orthogonal:
    """Orthogonal weights times a gain, zero bias (what SB3's on-policy algorithms use)."""

    gain: float

    def draw(self, module: nn.Module, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        weight, bias = _empty(module)
        nn.init.orthogonal_(weight, self.gain, generator=generator)
        return weight, None if bias is None else bias.zero_()

    def statistics(self, module: nn.Module) -> tuple[Statistics, Statistics]:
        # Of rows or columns, whichever are fewer, each has the gain as its length.
        rows, columns = _matrix(module)
        return Statistics(0.0, self.gain / math.sqrt(max(rows, columns))), ZERO


@dataclass(frozen=True)
class TorchDefault:
    """Weight and bias uniform in +-1/sqrt(fan_in): the default of `nn.Linear` and `nn.Conv2d`."""

    def draw(self, module: nn.Module, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        weight, bias = _empty(module)
        bound = self._bound(module)
        weight.uniform_(-bound, bound, generator=generator)
        return weight, None if bias is None else bias.uniform_(-bound, bound, generator=generator)

    def statistics(self, module: nn.Module) -> tuple[Statistics, Statistics]:
        uniform = Statistics(0.0, self._bound(module) / math.sqrt(3))
        return uniform, uniform

    def _bound(self, module: nn.Module) -> float:
        return 1 / math.sqrt(_matrix(module)[1])


@dataclass(frozen=True)
class HeNormal:
    """Weights normal with the standard deviation sqrt(2 / fan_in), zero bias (He et al., arXiv 1502.01852)."""

    def draw(self, module: nn.Module, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        weight, bias = _empty(module)
        nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
        return weight, None if bias is None else bias.zero_()

    def statistics(self, module: nn.Module) -> tuple[Statistics, Statistics]:
        return Statistics(0.0, math.sqrt(2 / _matrix(module)[1])), ZERO


@dataclass(frozen=True)
class Affine:
    """Weight 1 and bias 0: the affine parameters of a normalisation, of which some have no bias."""

    def draw(self, module: nn.Module, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        weight, bias = _empty(module)
        return weight.fill_(1), None if bias is None else bias.zero_()

    def statistics(self, module: nn.Module) -> tuple[Statistics, Statistics]:
        return Statistics(1.0, 0.0), ZERO


def _matrix(module: nn.Module) -> tuple[int, int]:
    """Rows and columns of the module's weight as a matrix: units and inputs of each."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return len(weight), math.prod(weight.shape[1:])


def _empty(module: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Unwritten CPU tensors of the shapes of the module's weight and bias."""
    weight, bias = module.weight, getattr(module, "bias", None)
    assert isinstance(weight, Tensor)
    empty = torch.empty(weight.shape, dtype=weight.dtype, device="cpu")
    return empty, torch.empty(bias.shape, dtype=bias.dtype, device="cpu") if isinstance(bias, Tensor) else None
