"""A gradient step around its backward as torch makes it, to the last bit, without most of what it costs on a CPU.

With batches of some tens, half of a gradient step's time is none of the network's: modules are walked through for their
parameters, and each tensor's moments are moved by a dozen calls from Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.optim import optimizer as hooks

from agents.plasticity import compiler

SMALLEST = torch.finfo(torch.float32).tiny
"""The smallest normal number. MKL takes roots of what is smaller, and of zeros, one at a time: ten times as long."""

UNUSUAL = (
    "weight_decay", "decoupled_weight_decay", "amsgrad", "maximize", "foreach", "capturable", "differentiable",
)  # fmt: skip
"""Settings of torch's Adam with which it does otherwise, or in another way."""

_around: Any = getattr(hooks, "_use_grad_for_differentiable", None)
_GUARD = None if _around is None else _around(lambda optimizer: None).__code__
"""Of what turns gradients off around the steps of torch's optimizers, and loads torch's compiler to tell it so."""


def drop_gradients(optimizer: torch.optim.Optimizer) -> None:
    """``optimizer.zero_grad()``."""
    if type(optimizer).zero_grad is not torch.optim.Optimizer.zero_grad or "zero_grad" in vars(optimizer):
        optimizer.zero_grad()
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


@torch.no_grad()
def clip_gradients(parameters: Iterable[Tensor], max_norm: float, *, exactly: bool = True) -> None:
    """``torch.nn.utils.clip_grad_norm_(parameters, max_norm)``.

    Args:
        parameters: those with gradients.
        max_norm: of all of these together.
        exactly: to the last bit; else gradients that share one block of memory are clipped as one.
    """
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients or not _are_plain(gradients):
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        return
    block = None if exactly else _block(gradients)
    if block is not None:
        gradients = [block]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, 2.0)), 2.0)
    coefficient = torch.clamp(float(max_norm) / (norm + 1e-6), max=1.0)
    if coefficient.item() != 1.0:  # nothing changes by a factor of 1
        torch._foreach_mul_(gradients, coefficient)


def _block(tensors: Sequence[Tensor]) -> Tensor | None:
    """The numbers of tensors that fill one block of memory, as one tensor; None of others."""
    storage = tensors[0].untyped_storage()
    alike = {tensor.untyped_storage().data_ptr() for tensor in tensors} == {storage.data_ptr()}
    filled = sum(tensor.nbytes for tensor in tensors) == storage.nbytes()
    apart = len({tensor.data_ptr() for tensor in tensors}) == len(tensors)
    return tensors[0].new_empty(0).set_(storage) if alike and filled and apart else None


def step(optimizer: torch.optim.Optimizer) -> None:
    """``optimizer.step()``."""
    trained = _trained(optimizer)
    if trained is None:
        _step_of_torch(optimizer)
        return
    for group, parameters in trained:
        states = [optimizer.state[parameter] for parameter in parameters]
        (_fused_adam if group.get("fused") else _adam)(group, parameters, states)


def divisors(second: list[Tensor], roots: Sequence[float], eps: float) -> list[Tensor]:
    """What Adam divides its steps by: the root of the second moment over that of its bias, and `eps`.

    Args:
        second: second moments, of at least 0.
        roots: of what each is divided by.
        eps: what is added.
    """
    if _are_plain(second) and _hides_smallest(eps, min(roots)):
        found = list(torch._foreach_clamp_min(second, SMALLEST))
        torch._foreach_sqrt_(found)
    else:
        found = list(torch._foreach_sqrt(second))
    torch._foreach_div_(found, roots)
    torch._foreach_add_(found, eps)
    return found


@torch.no_grad()
def _adam(group: dict[str, Any], parameters: list[Tensor], states: Sequence[dict[str, Any]]) -> None:
    """The operations of `torch.optim.adam._single_tensor_adam`, each on all parameters at once."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    first, second = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]
    beta1, beta2 = group["betas"]
    steps = [state["step"] for state in states]
    torch._foreach_add_(steps, 1)
    torch._foreach_lerp_(first, gradients, 1 - beta1)
    torch._foreach_mul_(second, beta2)
    torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
    made = [number.item() for number in steps]
    below = divisors(second, [(1 - beta2**number) ** 0.5 for number in made], group["eps"])
    torch._foreach_addcdiv_(parameters, first, below, [-(group["lr"] / (1 - beta1**number)) for number in made])


def _step_of_torch(optimizer: torch.optim.Optimizer) -> None:
    """``optimizer.step()``; torch's compiler, which is told of each, is not loaded for it."""
    inner = None if compiler.is_loaded() or is_watched(optimizer) else _inner_step(type(optimizer))
    if inner is None:
        optimizer.step()
        return
    with torch.set_grad_enabled(optimizer.defaults["differentiable"]):
        inner(optimizer)


def _inner_step(kind: Any) -> Callable[[torch.optim.Optimizer], Any] | None:
    """The step inside what torch puts around those of its own optimizers; None of others."""
    guarded: Any = getattr(kind.step, "__wrapped__", None)  # around it is what calls hooks and the profiler
    is_known = _GUARD is not None and getattr(guarded, "__code__", None) is _GUARD
    return guarded.__wrapped__ if is_known else None


@torch.no_grad()
def _fused_adam(group: dict[str, Any], parameters: list[Tensor], states: Sequence[dict[str, Any]]) -> None:
    """The operations of `torch.optim.adam._fused_adam`."""
    steps = [state["step"] for state in states]
    torch._foreach_add_(steps, 1)
    torch._fused_adam_(
        parameters,
        [parameter.grad for parameter in parameters if parameter.grad is not None],
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        [],
        steps,
        amsgrad=False,
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        weight_decay=0.0,
        eps=group["eps"],
        maximize=False,
    )


def _hides_smallest(eps: float, root: float) -> bool:
    """Whether what is smaller than `SMALLEST` leaves no trace beside `eps`: their sum rounds to `eps`."""
    return math.sqrt(SMALLEST) / root < eps * 2.0**-26  # half of its last place, and half of that


def _trained(optimizer: torch.optim.Optimizer) -> list[tuple[dict[str, Any], list[Tensor]]] | None:
    """The groups with those of their parameters that have gradients, where the optimizer does what is done here."""
    if type(optimizer) is not torch.optim.Adam or is_watched(optimizer):
        return None
    trained = []
    for group in optimizer.param_groups:
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        if not parameters:
            continue
        if any(group.get(name) for name in UNUSUAL):
            return None
        if not all(type(number) is float for number in (group["lr"], *group["betas"])):
            return None
        states = [optimizer.state.get(parameter) for parameter in parameters]
        if not all(states):  # before the first step
            return None
        held = [(state["step"], state["exp_avg"], state["exp_avg_sq"]) for state in states if state]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not _are_plain([*parameters, *gradients, *chain.from_iterable(held)]):
            return None
        trained.append((group, parameters))
    return trained


def is_watched(optimizer: torch.optim.Optimizer) -> bool:
    """Whether somebody is told of the optimizer's steps, or makes them in another way."""
    return bool(
        "step" in vars(optimizer)
        or optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or hooks._global_optimizer_pre_hooks
        or hooks._global_optimizer_post_hooks
    )


def _are_plain(tensors: Iterable[Tensor]) -> bool:
    """Whether all are ordinary tensors of float32 on the CPU."""
    return all(tensor.is_cpu and tensor.dtype is torch.float32 and tensor.layout is torch.strided for tensor in tensors)
