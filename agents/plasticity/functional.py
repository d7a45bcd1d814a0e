"""Modules run with other parameters than their own: an old network without a copy of its modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from agents.plasticity.taps import untapped
from agents.plasticity.threads import value_lock


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """Copies of a module's parameters and buffers, without gradients, by the names of ``named_parameters()``."""
    return {name: tensor.detach().clone() for name, tensor in _tensors(module).items()}


def run_with(module: nn.Module, parameters: Mapping[str, Tensor], function: Callable[[Any], Any], argument: Any) -> Any:
    """What a function that runs a module gives with other parameters, which open taps do not record.

    Args:
        module: whose parameters and buffers they stand in for while this runs.
        parameters: of `snapshot`, or of their names and shapes; gradients reach those that take any.
        function: runs the module, or parts of it.
        argument: of the function.

    Raises:
        ValueError: they are those of other modules.
    """
    held = _tensors(module)
    _check(held, parameters)
    with untapped(), value_lock(module).writing():
        # Each place once: torch's own tying puts the old parameters back in the wrong order where a module is shared.
        given = {f"module.{place}": parameters[name] for place, name in _places(module, held).items()}
        return torch.func.functional_call(_Forward(module, function), given, (argument,), tie_weights=False)


class _Forward(nn.Module):
    """A function that runs a module, as a forward of its own."""

    def __init__(self, module: nn.Module, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self, argument: Any) -> Any:
        return self.function(argument)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _places(module: nn.Module, held: Mapping[str, Tensor]) -> dict[str, str]:
    """Where each parameter and buffer stands, shared ones in all places -> its name among those held."""
    names = {tensor: name for name, tensor in held.items()}
    places = {}
    for path, part in module.named_modules():
        for named in (part.named_parameters, part.named_buffers):
            for name, tensor in named(path, recurse=False, remove_duplicate=False):
                places[name] = names[tensor]
    return places


def _check(held: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    for name in [*held, *given]:
        if name not in given:
            problem = "is missing"
        elif name not in held:
            problem = "is not known here"
        elif given[name].shape != held[name].shape:
            problem = f"has the shape {tuple(given[name].shape)}, and here it is {tuple(held[name].shape)}"
        else:
            continue
        raise ValueError(
            f"parameters are of other networks: {name} {problem}; give all that named_parameters() and named_buffers() "
            "have, and take a new snapshot where modules were replaced"
        )
