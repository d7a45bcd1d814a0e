"""Which tensors of a training's graphs are still there when it is over."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook


def left_by(call: Callable[[], object], *, graphs_alone: bool = False) -> tuple[int, list[str]]:
    """How many tensors modules took in and put out with gradients on during a call, and which are alive after it.

    Python's collector is off: what is found alive would wait for it, or stay for ever where the circle runs through
    autograd.

    Args:
        call: trains or measures.
        graphs_alone: pass over tensors that are part of no graph, such as observations.
    """
    seen: list[tuple[str, weakref.ref[Tensor]]] = []

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if torch.is_grad_enabled():
            tensors = [tensor for value in (*inputs, output) for tensor in _tensors(value)]
            kept = [tensor for tensor in tensors if tensor.requires_grad or not graphs_alone]
            seen.extend((f"{type(module).__name__} {tuple(t.shape)}", weakref.ref(t)) for t in kept)

    gc.disable()
    handle = register_module_forward_hook(note)
    try:
        call()
        alive = [name for name, reference in seen if reference() is not None]
    finally:
        handle.remove()
        gc.enable()
    return len(seen), alive


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [] if isinstance(value, nn.Parameter) else [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, list | tuple) else []
