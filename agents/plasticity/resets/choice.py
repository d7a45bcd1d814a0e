"""Which units are replaced: a selection among those that are old enough and have a score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from agents.plasticity.criteria import normalized
from agents.plasticity.selections import LayerUtilities, Selection, has_signal
from agents.plasticity.units import UnitLayer


class Choice:
    """Selects from some layers, and knows since when each of their units is there.

    Args:
        selection: picks units.
        layers: that it picks from.
        maturity: gradient steps for which a new unit is left alone.
        start: gradient step since which the units are there, so far as is known.
        device: of the tensors.

    Attributes:
        no_signal: network's name -> how many times a layer's utilities ranked nothing.
        lowest: network's name -> the lowest of all utilities that there was to select from, over their layer's mean.
    """

    def __init__(
        self, selection: Selection, layers: Sequence[UnitLayer], maturity: int, start: int, device: torch.device
    ) -> None:
        self._selection, self._maturity = selection, maturity
        self._born = {layer.name: torch.full((layer.units,), start, device=device) for layer in layers}
        # Fractions of a unit that selections have left over.
        self._left = {layer.name: torch.zeros((), device=device) for layer in layers}
        self.no_signal = {layer.network: torch.zeros((), dtype=torch.int64, device=device) for layer in layers}
        self.lowest = {layer.network: torch.full((), torch.inf, device=device) for layer in layers}

    @torch.no_grad()
    def select(
        self,
        layers: Sequence[UnitLayer],
        utilities: Mapping[str, Tensor],
        waited: Mapping[str, int],
        steps: Mapping[str, int],
        loss_of: Callable[[str], Tensor],
    ) -> dict[str, Tensor]:
        """Layer's name -> amounts, (units,).

        Args:
            layers: those that are selected from now.
            utilities: layer's name -> (units,); nan where a unit has no score.
            waited: layer's name -> gradient steps since its last selection.
            steps: network's name -> gradient steps of its optimizer.
            loss_of: network's name -> mean absolute loss of a sample, a scalar; asked for where the selection needs it.
        """
        amounts = {}
        together: dict[tuple[str, int], list[UnitLayer]] = {}
        for layer in layers:
            together.setdefault((layer.network, waited[layer.name]), []).append(layer)
        for (network, passed), members in together.items():
            candidates = [self._utilities_of(layer, utilities[layer.name], steps[network]) for layer in members]
            loss = loss_of(network) if self._selection.needs_loss else None
            chosen = self._selection.select(candidates, passed, loss)
            for layer, (amount, left) in zip(members, chosen, strict=True):
                amounts[layer.name] = amount
                self._left[layer.name].copy_(left)
        return amounts

    def _utilities_of(self, layer: UnitLayer, utility: Tensor, step: int) -> LayerUtilities:
        scored = utility.isfinite()
        # A unit without a score counts as an average one: it is not eligible, and must not move the layer's mean.
        average = torch.where(scored, utility, 0).sum() / scored.sum().clamp(min=1)
        utility = torch.where(scored, utility, average)
        self.no_signal[layer.network] += ~has_signal(utility) & scored.any()
        eligible = scored & (step - self._born[layer.name] >= self._maturity)
        lowest = torch.where(eligible & has_signal(utility), normalized(utility), torch.inf).min()
        self.lowest[layer.network].clamp_(max=lowest)
        return LayerUtilities(utility, eligible, self._left[layer.name])

    def renew(self, masks: Mapping[str, Tensor], steps: Mapping[str, int]) -> None:
        """The masked units are new; `steps` is layer's name -> gradient steps of its network's optimizer."""
        for name, step in steps.items():
            if name in masks:
                self._born[name].masked_fill_(masks[name], step)

    def tensors(self) -> dict[str, Tensor]:
        """All that must be saved, to be restored in place."""
        kinds = {"born": self._born, "left": self._left, "no_signal": self.no_signal, "lowest": self.lowest}
        return {f"{kind}/{name}": tensor for kind, found in kinds.items() for name, tensor in found.items()}
