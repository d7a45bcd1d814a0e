"""How a layer drew its weights when it was built; a reset draws them so again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


class Init(Protocol):
    """How the weight and the bias of a module are drawn."""

    def draw(self, module: nn.Module, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """New weight and bias of `module`'s shapes, on the CPU, with `generator` alone."""
        ...


@dataclass(frozen=True)
class Orthogonal:
    """Orthogonal weights times a gain, zero bias (what SB3's on-policy algorithms use)."""

    gain: float

    def draw(self, module: nn.Module, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        weight, bias = _empty(module)
        nn.init.orthogonal_(weight, self.gain, generator=generator)
        return weight, None if bias is None else bias.zero_()


@dataclass(frozen=True)
class TorchDefault:
    """Weight and bias uniform in +-1/sqrt(fan_in): the default of `nn.Linear` and `nn.Conv2d`."""

    def draw(self, module: nn.Module, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        weight, bias = _empty(module)
        bound = 1 / math.sqrt(math.prod(weight.shape[1:]))
        weight.uniform_(-bound, bound, generator=generator)
        return weight, None if bias is None else bias.uniform_(-bound, bound, generator=generator)


@dataclass(frozen=True)
class Affine:
    """Weight 1 and bias 0: the affine parameters of a normalisation."""

    def draw(self, module: nn.Module, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        weight, bias = _empty(module)
        return weight.fill_(1), None if bias is None else bias.zero_()


def _empty(module: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Unwritten CPU tensors of the shapes of the module's weight and bias."""
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor)
    empty = torch.empty(weight.shape, dtype=weight.dtype)
    return empty, torch.empty(bias.shape, dtype=bias.dtype) if isinstance(bias, Tensor) else None
