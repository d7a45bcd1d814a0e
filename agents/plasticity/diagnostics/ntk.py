"""The empirical neural tangent kernel, layer by layer.

With G the matrix of per-sample gradients of a network's summed outputs, (batch, parameters), the kernel is N = G G^T.
One forward and one backward give it without G: a linear layer's share is (X X^T + 1) * (D D^T), entry by entry, with X
the layer's inputs and D the gradients at its outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional as F

from agents.plasticity.threads import in_this_thread
from agents.plasticity.units import Network

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
CHUNK = 2**24  # entries of the per-sample gradients that are held at once


def tangent_kernels(networks: Mapping[str, Network], forward: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Each network's kernel on a batch, (batch, batch), detached.

    Args:
        networks: whose parameters count: those of its parts.
        forward: runs all networks once, in evaluation mode, and returns their outputs, (batch, outputs) each. What is
            differentiated is the sum of all outputs that a network feeds.

    Raises:
        ValueError: a part is no module that is understood (`is_understood`).
        RuntimeError: a module ran twice in one forward, so that its two shares of a gradient do not simply add; or a
            batch normalisation ran in training mode, in which no sample has a gradient of its own.
    """
    modules = {part.module: None for network in networks.values() for part in network.parts}
    for module in modules:
        if not is_understood(module):
            raise ValueError(f"the per-sample gradients of {module} are not understood; leave its network out")
    with torch.enable_grad(), _Recorder(modules) as seen:
        total = torch.stack([output.sum() for output in forward().values()]).sum()
    grams: dict[nn.Module, Tensor] = {}
    if seen.edges:
        gradients = torch.autograd.grad(total, list(seen.edges.values()), allow_unused=True)
        for module, gradient in zip(seen.edges, gradients, strict=True):
            if gradient is not None:
                grams[module] = _gram(module, seen.inputs[module], gradient)
    nothing = total.new_zeros(seen.batch, seen.batch)
    return {
        name: torch.stack([grams.get(part.module, nothing) for part in network.parts]).sum(0)
        for name, network in networks.items()
    }


def is_understood(module: nn.Module) -> bool:
    """Whether `tangent_kernels` knows the per-sample gradients of the module's own parameters.

    Linear and ungrouped Conv2d layers; LayerNorm, RMSNorm, GroupNorm, and batch normalisations that keep running
    statistics.
    """
    if isinstance(module, nn.Conv2d):
        return module.groups == 1
    if isinstance(module, BATCH_NORMS):
        return module.running_mean is not None
    return isinstance(module, nn.Linear | nn.LayerNorm | nn.RMSNorm | nn.GroupNorm)


class _Recorder:
    """Records what enters each module, and where the gradient of what leaves it will be found."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self._modules = modules
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self.inputs: dict[nn.Module, Tensor] = {}
        self.edges: dict[nn.Module, GradientEdge] = {}
        self.batch = 0

    def __enter__(self) -> _Recorder:
        self._handles = [module.register_forward_hook(in_this_thread(self._record)) for module in self._modules]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def _record(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if module in self.inputs:
            raise RuntimeError(f"the module {module} ran twice in one forward; give each layer its own")
        if isinstance(module, BATCH_NORMS) and module.training:
            raise RuntimeError(f"the module {module} ran in training mode; run the forward in evaluation mode")
        self.inputs[module] = inputs[0].detach()
        self.batch = len(inputs[0])
        if output.requires_grad:
            # The edge stays where it is when the activation behind it works in place; the tensor would not.
            self.edges[module] = get_gradient_edge(output)


def _gram(module: nn.Module, x: Tensor, d: Tensor) -> Tensor:
    """What the module's own parameters add to the kernel.

    Args:
        module: one that `is_understood`.
        x: its inputs.
        d: gradients at its outputs.
    """
    if isinstance(module, nn.Linear):
        inputs = x.reshape(len(x), -1, x.shape[-1]).transpose(1, 2)
        at_bias = d.reshape(len(d), -1, d.shape[-1]).transpose(1, 2)
        gram = _products(inputs, at_bias)
    elif isinstance(module, nn.Conv2d):
        at_bias = d.flatten(2)
        gram = _products(_patches(module, x), at_bias)
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
        at_bias = d.reshape(len(d), -1, math.prod(module.normalized_shape)).transpose(1, 2)
        gram = _squared((d * _normalized(module, x)).reshape(len(d), -1, at_bias.shape[1]).sum(1))
    else:
        at_bias = d.reshape(*d.shape[:2], -1)
        gram = _squared((d * _normalized(module, x)).reshape(at_bias.shape).sum(2))
    return gram if getattr(module, "bias", None) is None else gram + _squared(at_bias.sum(2))


def _squared(gradients: Tensor) -> Tensor:
    """Per-sample gradients (batch, parameters) -> their products, (batch, batch)."""
    return gradients @ gradients.T


def _products(x: Tensor, d: Tensor) -> Tensor:
    """Products of the per-sample gradients sum_p d_p x_p^T of a weight, by the cheaper of two ways.

    Args:
        x: inputs at every position, (batch, inputs, positions).
        d: gradients at the outputs, (batch, units, positions).
    """
    (batch, inputs, positions), units = x.shape, d.shape[1]
    pairs = (batch * positions) ** 2 * (inputs + units)
    explicit = units * inputs * batch * (positions + batch)
    if pairs <= explicit:  # always so at one position: then it is (X X^T) * (D D^T)
        x, d = x.transpose(1, 2).reshape(-1, inputs), d.transpose(1, 2).reshape(-1, units)
        return (_squared(x) * _squared(d)).view(batch, positions, batch, positions).sum((1, 3))
    rows = max(1, CHUNK // (batch * inputs))
    chunks = [_squared(torch.bmm(part, x.transpose(1, 2)).flatten(1)) for part in d.split(rows, dim=1)]
    return torch.stack(chunks).sum(0)


def _patches(module: nn.Conv2d, x: Tensor) -> Tensor:
    """What a convolution sees at each position, (batch, inputs * kernel, positions)."""
    if module.padding == "same":
        whole = [reach * (size - 1) for size, reach in zip(module.kernel_size, module.dilation, strict=True)]
        before = [width // 2 for width in whole]
        after = [width - width // 2 for width in whole]
    else:
        before = after = [0, 0] if isinstance(module.padding, str) else list(module.padding)
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = F.pad(x, (before[1], after[1], before[0], after[0]), mode=mode)
    return F.unfold(padded, module.kernel_size, dilation=module.dilation, stride=module.stride)


def _normalized(module: nn.Module, x: Tensor) -> Tensor:
    """What a normalisation's weight multiplies."""
    if isinstance(module, nn.LayerNorm):
        return F.layer_norm(x, module.normalized_shape, eps=module.eps)
    if isinstance(module, nn.RMSNorm):
        return F.rms_norm(x, module.normalized_shape, eps=module.eps)
    if isinstance(module, nn.GroupNorm):
        return F.group_norm(x, module.num_groups, eps=module.eps)
    assert isinstance(module, BATCH_NORMS)
    return F.batch_norm(x, module.running_mean, module.running_var, eps=module.eps)
