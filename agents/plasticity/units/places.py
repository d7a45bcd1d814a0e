"""Where in a forward pass a layer's units can be seen and held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Look = Callable[[Tensor], Tensor | None]
"""Is shown the tensor that holds the units; what it gives back, if anything, goes on in that tensor's place."""


@dataclass(frozen=True)
class Output:
    """All that a module puts out, (batch, units) or (batch, channels, height, width)."""

    module: nn.Module

    def show(self, look: Look) -> RemovableHandle:
        """Show it to `look` in every forward pass until the handle is removed."""

        def hook(_: nn.Module, __: object, output: Tensor) -> Tensor | None:
            return look(output)

        return self.module.register_forward_hook(hook)

    def units(self, tensor: Tensor) -> Tensor:
        """The units in what was shown, or in its gradient: units are axis 1."""
        return tensor

    def with_units(self, tensor: Tensor, units: Tensor) -> Tensor:
        """What was shown with other values for the units."""
        return units


@dataclass(frozen=True)
class Input:
    """Columns of what a Linear or Conv2d takes in, where no module puts the units out.

    Attributes:
        module: that reads the units.
        start: the first unit's column.
        count: how many units there are.
        block: columns of each.
    """

    module: nn.Module
    start: int
    count: int
    block: int

    def show(self, look: Look) -> RemovableHandle:
        """Show it to `look` in every forward pass until the handle is removed."""

        def hook(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any] | None:
            new = look(inputs[0] if inputs else named["input"])
            if new is None:
                return None
            return ((new, *inputs[1:]), named) if inputs else (inputs, {**named, "input": new})

        return self.module.register_forward_pre_hook(hook, with_kwargs=True)

    @property
    def _axis(self) -> int:
        return 1 if isinstance(self.module, nn.Conv2d) else -1

    def units(self, tensor: Tensor) -> Tensor:
        """The units in what was shown, or in its gradient: units are axis 1, their columns or positions follow."""
        piece = tensor.narrow(self._axis, self.start, self.count * self.block)
        if self._axis == 1:
            return piece
        if self.block > 1:
            return piece.reshape(*piece.shape[:-1], self.count, self.block).movedim(-2, 1)
        return piece.movedim(-1, 1)

    def with_units(self, tensor: Tensor, units: Tensor) -> Tensor:
        """What was shown with other values for the units."""
        if self._axis == -1:
            units = units.movedim(1, -2).flatten(-2) if self.block > 1 else units.movedim(1, -1)
        end = self.start + self.count * self.block
        before = tensor.narrow(self._axis, 0, self.start)
        return torch.cat([before, units, tensor.narrow(self._axis, end, tensor.shape[self._axis] - end)], self._axis)


Place = Output | Input
