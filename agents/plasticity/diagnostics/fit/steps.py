"""How much of an error gradient steps remove, on copies of parameters."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def removed(first: Tensor, last: Tensor) -> Tensor:
    """The share of an error that is gone: 1 - last / first, 0 where it has grown or is no finite number.

    nan where there was none at first, or but rounding below 0.
    """
    share = (1 - last / first).clamp(min=0)
    return torch.where(first <= 0, torch.nan, torch.where(first.isfinite() & last.isfinite(), share, 0))


@torch.enable_grad()
def error_removed(
    error: Callable[[], Tensor], parameters: Sequence[Tensor], optimizers: Sequence[torch.optim.Optimizer], steps: int
) -> Tensor:
    """The share of an error that so many gradient steps remove, in (0, 1); never waits for a GPU.

    Args:
        error: a scalar of at least 0 that depends on the parameters.
        parameters: leaves, which are changed, as are their ``.grad``.
        optimizers: that step on them.
        steps: at least 1.
    """
    first = found = error()
    if not found.requires_grad:
        return torch.zeros_like(first)
    for _ in range(steps):
        gradients = torch.autograd.grad(found, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        for optimizer in optimizers:
            optimizer.step()
        found = error()
    return removed(first.detach(), found.detach())


def twins(optimizers: Sequence[torch.optim.Optimizer], leaves: Mapping[Tensor, Tensor]) -> list[torch.optim.Optimizer]:
    """Optimizers of the same classes and settings that step on other tensors, and remember nothing yet.

    Args:
        optimizers: that stay as they are; those that step on none of the parameters have no twin.
        leaves: parameter -> what the twin steps on in its place. Nothing stands in the place of all others.
    """
    found = []
    for optimizer in optimizers:
        held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if not any(parameter in leaves for parameter in held):
            continue
        # What deepcopy finds here it takes for copied. Places in groups have a meaning (`HiddenWeights`) and are kept.
        memo: dict[int, Any] = {
            id(p): leaves[p] if p in leaves else torch.empty_like(p, device="meta").requires_grad_() for p in held
        }
        memo[id(optimizer.state)] = defaultdict(dict)
        found.append(copy.deepcopy(optimizer, memo))
    return found
