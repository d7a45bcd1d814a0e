"""Where in a forward pass a layer's units can be seen and held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from agents.plasticity.threads import in_this_thread

UnitHook = Callable[[Tensor], Tensor | None]
"""Is shown the tensor that holds the units; what it gives back, if anything, goes on in that tensor's place."""


@dataclass(frozen=True)
class Output:
    """All that a module puts out: (batch, units), (batch, steps, units) or (batch, channels, height, width).

    Attributes:
        module: that puts the units out.
        fold: values of each unit; all of the units' first ones precede all of their second ones.
    """

    module: nn.Module
    fold: int = 1

    def show(self, viewer: UnitHook) -> RemovableHandle:
        """Show it to `viewer` in every forward pass of this thread until the handle is removed."""

        def hook(_: nn.Module, __: object, output: Tensor) -> Tensor | None:
            return viewer(output)

        return self.module.register_forward_hook(in_this_thread(hook))

    def units(self, tensor: Tensor) -> Tensor:
        """The units in what was shown, or in its gradient: units are axis 1, their values, if several, axis 2."""
        return _folded(units_at_axis_1(tensor), self.fold)

    def with_units(self, tensor: Tensor, units: Tensor) -> Tensor:
        """What was shown with other values for the units."""
        found = _unfolded(units, self.fold)
        return found.movedim(1, -1) if tensor.dim() == 3 else found


@dataclass(frozen=True)
class Input:
    """Columns of what a Linear or Conv2d takes in, where no module puts the units out.

    Attributes:
        module: that reads the units.
        start: the first unit's column.
        count: how many units there are.
        block: columns of each value of a unit.
        fold: values of each unit.
    """

    module: nn.Module
    start: int
    count: int
    block: int
    fold: int = 1

    def show(self, viewer: UnitHook) -> RemovableHandle:
        """Show it to `viewer` in every forward pass of this thread until the handle is removed."""

        def hook(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any] | None:
            new = viewer(inputs[0] if inputs else named["input"])
            if new is None:
                return None
            return ((new, *inputs[1:]), named) if inputs else (inputs, {**named, "input": new})

        return self.module.register_forward_pre_hook(in_this_thread(hook), with_kwargs=True)

    @property
    def _width(self) -> int:
        return self.count * self.block * self.fold

    @property
    def _axis(self) -> int:
        return 1 if isinstance(self.module, nn.Conv2d) else -1

    def units(self, tensor: Tensor) -> Tensor:
        """The units in what was shown, or in its gradient: units are axis 1, their columns or positions follow."""
        piece = tensor.narrow(self._axis, self.start, self._width)
        if self._axis == 1:
            return _folded(piece, self.fold)
        if self._width == self.count:
            return piece.movedim(-1, 1)
        values: Tensor = piece.unflatten(-1, (self.fold, self.count, self.block))
        return values.movedim(-2, 1).flatten(-2)

    def with_units(self, tensor: Tensor, units: Tensor) -> Tensor:
        """What was shown with other values for the units."""
        if self._axis == 1:
            units = _unfolded(units, self.fold)
        elif self._width == self.count:
            units = units.movedim(1, -1)
        else:
            units = units.unflatten(-1, (self.fold, self.block)).movedim(1, -2).flatten(-3)
        end = self.start + self._width
        before = tensor.narrow(self._axis, 0, self.start)
        return torch.cat([before, units, tensor.narrow(self._axis, end, tensor.shape[self._axis] - end)], self._axis)


Place = Output | Input


def units_at_axis_1(tensor: Tensor) -> Tensor:
    """What a module puts out, with the axis of its units behind the batch's: of a sequence it is the last one."""
    return tensor.movedim(-1, 1) if tensor.dim() == 3 else tensor


def _folded(tensor: Tensor, fold: int) -> Tensor:
    """(batch, fold * units, ...) -> (batch, units, fold, ...); as it is where a unit has one value."""
    return tensor if fold == 1 else tensor.unflatten(1, (fold, -1)).transpose(1, 2)


def _unfolded(units: Tensor, fold: int) -> Tensor:
    return units if fold == 1 else units.transpose(1, 2).flatten(1, 2)
