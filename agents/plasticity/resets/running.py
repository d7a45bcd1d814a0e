"""Running means with a bias correction for each unit's own age."""

from __future__ import annotations

import torch
from torch import Tensor


class RunningMean:
    """An exponential mean per unit, corrected for how much it has gathered since the unit was new.

    Args:
        shape: (units,) or (units, positions).
        device: of the tensors.
    """

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self.total = torch.zeros(shape, device=device)
        self.weight = torch.zeros(shape[0], device=device)
        self._one = torch.ones((), device=device)

    def take_in(self, value: Tensor, keep: float) -> Tensor:
        """One more value, (units, ...), of any floating dtype.

        A unit whose value is not finite is passed over, for it would stay for ever.

        Returns:
            which units' values were finite, (units,).
        """
        finite = value.isfinite()
        if finite.dim() > 1:
            finite = finite.flatten(1).all(1)
        step = finite * (1 - keep)
        self.total.lerp_(value.nan_to_num(0.0, 0.0, 0.0).to(self.total.dtype), self._rows(step))
        self.weight.lerp_(self._one, step)
        return finite

    def value(self) -> Tensor:
        """The mean; nan where a unit has gathered nothing since it was new."""
        return self.total / self._rows(self.weight)

    def clear(self, mask: Tensor) -> None:
        """Forget the masked units."""
        self.total.masked_fill_(self._rows(mask), 0)
        self.weight.masked_fill_(mask, 0)

    def _rows(self, units: Tensor) -> Tensor:
        return units.view(-1, *[1] * (self.total.dim() - 1))
