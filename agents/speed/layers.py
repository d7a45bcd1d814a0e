"""How layers compute while `Quick` is entered: those of boards by what is set, large ones in bfloat16."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from agents.speed import sparse
from agents.speed.activations import Tanh, tanh
from agents.speed.boards import Boards, kernels
from agents.speed.hardware import has_bfloat16
from agents.speed.threads import LargeLinear, is_large

PAYS = {"cpu": 2**23, "cuda": 2**29}
"""Kind of device -> multiplications of a forward from which bfloat16 pays, with its casts there and back.

On a CPU measured forward and backward: 1,024 x 128 inputs to 64 units take 0.91 of the time, to 128 units 0.60, 1,024
to 128 units 0.50; 256 x 256 to 256 units 0.75; but 256 x 128 to 128 units 1.08, and 1,024 x 64 to 64 units the same.
"""


class Quick(TorchFunctionMode):
    """Around forwards whose rounding may be another one: `torch.nn.functional.linear` and convolutions compute quickly.

    - Bools that are made floats wait, as `Boards`, for the layers that read them.
    - The hyperbolic tangent of many numbers on a CPU is computed by their sigmoid.
    - Layers of many multiplications (`PAYS`) take inputs and weights as bfloat16 and give float32, and so do their
      gradients; products are summed up in float32 within. All else stays in float32: parameters, activations between
      layers, which taps see, and what losses and distributions compute.

    It is of the thread that enters it, and changes no setting of the process.

    Args:
        bfloat16: whether the device has it.
        constant: layers' parameters take no gradients, which saves half of their backward.
    """

    def __init__(self, *, bfloat16: bool, constant: bool = False) -> None:
        super().__init__()
        self._bfloat16, self._constant = bfloat16, constant

    @cached_property
    def frozen(self) -> Quick:
        """The same for networks whose parameters take no gradients."""
        return Quick(bfloat16=self._bfloat16, constant=True)

    @classmethod
    def on(cls, device: torch.device) -> Quick:
        """For a device; a warning says so where it has no bfloat16."""
        found = has_bfloat16(device.type)
        if not found:
            warnings.warn(
                f"speed is 'fast', but this {device.type} has no instructions for bfloat16, so that large layers "
                "compute in float32 as ever",
                stacklevel=2,
            )
        return cls(bfloat16=found)

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.compiler.is_compiling():
            return func(*args, **kwargs)
        if func is Tensor.float and args[0].dtype is torch.bool:
            _tell_where_dense()
            return Boards.of(args[0])
        if func is F.linear:
            return self._linear(*args, **kwargs)
        if func is F.conv2d:
            return self._convolution(*args, **kwargs)
        if func is torch.tanh and not kwargs:
            return Tanh.apply(*args) if args[0].requires_grad else tanh(*args)  # type: ignore[no-untyped-call]
        if func is sparse.rectified:
            return sparse.convolution(args[0], *self._parameters(*args[1:]), relu=True)
        if func is sparse.features:
            return self._features(*args)
        return func(*args, **kwargs)

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        weight, bias = self._parameters(weight, bias)
        if isinstance(x, Boards):
            found = sparse.linear(x, weight, bias)
            if found is not None:
                return found
            x = x.floats()
        if self._pays(x.numel() * len(weight), x, weight):
            return _product(_half(x), _half(weight), None if bias is None else _half(bias)).float()
        return _product(x, weight, bias)

    def _convolution(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, *how: Any, **named: Any) -> Tensor:
        weight, bias = self._parameters(weight, bias)
        if isinstance(x, Boards):
            if sparse.is_plain(how, named):
                found = sparse.convolution(x, weight, bias)
                if found is not None:
                    return found
            x = x.floats()
        # Of a stride of 1; those that a larger one leaves out are few where it pays at all.
        if self._pays(x.numel() * math.prod(weight.shape[2:]) * len(weight), x, weight):
            halves = _half(x), _half(weight), None if bias is None else _half(bias)
            large: Tensor = F.conv2d(*halves, *how, **named).float()
            return large
        out: Tensor = F.conv2d(x, weight, bias, *how, **named)
        return out

    def _features(self, x: Boards, *parameters: Tensor) -> Tensor | None:
        large = self._pays(len(x) * parameters[2].numel(), x, parameters[2])
        return sparse.half_features(x, *parameters) if large and not self._constant else None

    def _parameters(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if not self._constant:
            return weight, bias
        return weight.detach(), None if bias is None else bias.detach()

    def _pays(self, multiplications: int, x: Tensor, weight: Tensor) -> bool:
        both = x.dtype is torch.float32 and weight.dtype is torch.float32
        return self._bfloat16 and both and multiplications >= PAYS.get(x.device.type, math.inf)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer; where it is large, with all threads."""
    if is_large(x, weight):
        large: Tensor = LargeLinear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return large
    return F.linear(x, weight, bias)


@cache
def _tell_where_dense() -> None:
    """A warning, once, where there are no compiled loops."""
    if kernels() is None:
        warnings.warn(
            "numba cannot be imported here, or not with this numpy, so that speed 'fast' multiplies by the zeros of "
            "boards, too; pip install numba",
            stacklevel=4,
        )


def _half(tensor: Tensor) -> Tensor:
    return tensor.to(torch.bfloat16)
