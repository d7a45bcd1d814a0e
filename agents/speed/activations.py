"""Activation functions whose derivative is known here, so that no graph is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents.speed.boards import kernels
from agents.speed.sparse import LANES
from agents.speed.threads import WIDE

aten = torch.ops.aten
MANY = 2**12
"""Numbers from which another way to compute them pays, with its calls."""
LAYER = 32
"""Units of the narrowest layer that is taken for one."""


@dataclass(frozen=True)
class Activation:
    """One, with its settings: two with equal ones are the same.

    Attributes:
        kind: name of its class in `torch.nn`.
        setting: slope, alpha or form; None where it has none.
    """

    kind: str
    setting: float | str | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Its values at `x`, of any shape."""
        return _FORWARD[self.kind](x, self.setting)

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """The gradient at `x`, where `gradient` is that at its values `y`."""
        found: Tensor = _BACKWARD[self.kind](gradient, x, y, self.setting)
        return found


def tanh(x: Tensor) -> Tensor:
    """`torch.tanh`, of many float32 of a layer on a CPU by a fraction or their sigmoid: within 3e-7, and without graph.

    MKL's, which torch asks, takes many times as long on some CPUs: 2.5 ns a number, the sigmoid 0.8, the fraction 0.4,
    but on one thread. Actions are fewer than a layer's units: the probability of squashed ones depends on how close to
    1 they are.
    """
    is_layer = x.dim() > 1 and x.shape[-1] >= LAYER
    if x.dtype is not torch.float32 or x.device.type != "cpu" or x.numel() < MANY or not is_layer:
        return torch.tanh(x)
    compiled = kernels() if x.numel() <= WIDE and x.numel() % LANES == 0 else None
    if compiled is not None:
        found = x.new_empty(x.shape)
        compiled.hyperbolic_tangent(x.detach().contiguous().numpy().ravel(), found.numpy().ravel())
        return found
    return torch.sigmoid(x + x).mul_(2).sub_(1)


class Tanh(torch.autograd.Function):
    """`tanh` with a graph."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        found: Tensor = aten.tanh_backward.default(gradient, y)
        return found


_FORWARD: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "Tanh": lambda x, _: tanh(x),
    "ReLU": lambda x, _: torch.relu(x),
    "LeakyReLU": lambda x, slope: F.leaky_relu(x, slope),
    "ELU": lambda x, alpha: F.elu(x, alpha),
    "SiLU": lambda x, _: F.silu(x),
    "GELU": lambda x, form: F.gelu(x, approximate=form),
}
_BACKWARD: dict[str, Callable[[Tensor, Tensor, Tensor, Any], Tensor]] = {
    "Tanh": lambda g, x, y, _: aten.tanh_backward.default(g, y),
    "ReLU": lambda g, x, y, _: aten.threshold_backward.default(g, y, 0),
    "LeakyReLU": lambda g, x, y, slope: aten.leaky_relu_backward.default(g, x, slope, False),
    "ELU": lambda g, x, y, alpha: aten.elu_backward.default(g, alpha, 1, 1, False, x),
    "SiLU": lambda g, x, y, _: aten.silu_backward.default(g, x),
    "GELU": lambda g, x, y, form: aten.gelu_backward.default(g, x, approximate=form),
}
_SETTINGS: dict[type[nn.Module], str | None] = {
    nn.Tanh: None, nn.ReLU: None, nn.LeakyReLU: "negative_slope", nn.ELU: "alpha", nn.SiLU: None,
    nn.GELU: "approximate",
}  # fmt: skip


def activation_of(module: nn.Module) -> Activation | None:
    """What a module computes, None where it is none of these."""
    if type(module) not in _SETTINGS:
        return None
    name = _SETTINGS[type(module)]
    return Activation(type(module).__name__, None if name is None else getattr(module, name))
