"""What may have fallen due in a layer, told on the host: no device is waited for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from agents.plasticity.selections import Selection
from agents.plasticity.units import UnitLayer

ROUNDING = 1e-9  # of sums of shares of a unit


class Waiting:
    """Leaves selections out in which no unit can have to be replaced: there nothing is ranked, drawn or measured.

    Args:
        layers: that are selected from.
        selection: knows how many units may fall due. A user's own that has no `Selection.most` is always asked.
        maturity: gradient steps before which no unit does.
    """

    def __init__(self, layers: Iterable[UnitLayer], selection: Selection, maturity: int) -> None:
        self._most: Callable[[int, int], float] | None = getattr(selection, "most", None)
        self._maturity = maturity
        # Layer's name -> gradient steps that wait for its next selection, and the most units that may be due.
        self._layers = {layer.name: (0, 0.0) for layer in layers}

    def fall_due(self, layer: UnitLayer, steps: int, age: int) -> int | None:
        """At the end of a period: the gradient steps since the layer's last selection, if one is to be made now.

        Args:
            layer: one of the layers.
            steps: gradient steps of the period.
            age: gradient steps since the oldest units were new.
        """
        if self._most is None:
            return steps
        if age < self._maturity:
            return None  # nothing accumulates either
        waited, most = self._layers[layer.name]
        waited, most = waited + steps, most + self._most(layer.units, steps)
        whole = math.floor(most + ROUNDING)
        self._layers[layer.name] = (0, most - whole) if whole else (waited, most)
        return waited if whole else None

    @property
    def waits(self) -> bool:
        """Whether some layer is not selected from although a period has ended."""
        return any(steps for steps, _ in self._layers.values())

    def state_dict(self) -> dict[str, Tensor]:
        """All that must survive saving and loading."""
        return {f"waiting/{name}": torch.tensor(held, dtype=torch.float64) for name, held in self._layers.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` gave."""
        for name in self._layers:
            steps, most = state[f"waiting/{name}"].tolist()
            self._layers[name] = int(steps), most
