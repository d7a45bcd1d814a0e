"""Units that live, beside those of fresh networks: what is dormant is missed late, and costs little to revive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from agents.plasticity.auto.decision import LIVING
from agents.plasticity.diagnostics.activations import dormant_ratio
from agents.plasticity.diagnostics.fit.probe import finite
from agents.plasticity.diagnostics.measure import with_units
from agents.plasticity.fresh import fresh_parameters, holding
from agents.plasticity.probing import layers_of
from agents.plasticity.protocols import Learner
from agents.plasticity.taps import RanTwiceError, Taps

DRAWS = 8
"""Fresh networks that one is held against before it counts as ill: they differ much in how many of their units live."""
FEWEST = 16
"""Different observations; what is silent on fewer may be needed on others."""
FINENESS = 1e4
"""Parts of the largest activation, in the median over observations, by which observations count as different."""
COLUMNS = 64
"""Means of neighbouring activations that are compared."""
LOOKING = 384
"""What a look at a fresh network's units takes, in transitions that a fit probe learns from (measured on a CPU)."""


class LivingUnits:
    """The shares of a learner's hidden units that are not dormant, over the least ones of fresh networks.

    A unit is dormant as for the logged ``dormant_ratio`` (arXiv 2302.12902, threshold 0.025). Networks are left out
    that have no hidden units, that do not run where outputs are made, or that see few different observations; where any
    runs twice nothing is told.

    Args:
        learner: that is looked at, and as it is.
        batch: observations, the same for all looks.
        seed: of the fresh networks.

    Attributes:
        spent: on fresh networks, in transitions that a fit probe learns from.
    """

    def __init__(self, learner: Learner, batch: Any, seed: int) -> None:
        self._learner, self._batch, self._seed = learner, batch, seed
        self._least: dict[str, Tensor] = {}
        self.spent = 0

    def look(self, threshold: float) -> dict[str, float]:
        """``<network>/living_units`` -> what it is, a fresh network having 1; nothing where too little is seen.

        Where one is below the threshold, beside all of `DRAWS` fresh networks.
        """
        own, found = self._shares(self._seen()), dict[str, float]()
        for number in range(DRAWS if own else 0):
            with holding(self._learner, fresh_parameters(self._learner, self._seed, "living", number)):
                seen = self._seen()
            self.spent += LOOKING
            drawn = self._shares(seen)
            if not number:
                self._least = {name: drawn[name] for name in self._telling(seen)}
            self._least = {name: torch.minimum(share, drawn[name]) for name, share in self._least.items()}
            found = self._ratios(own)
            if min(found.values(), default=threshold) >= threshold:
                break
        return found

    def again(self, measure: str) -> float | None:
        """The same of the learner as it is now, beside the same networks; None where it is no finite number."""
        return self._ratios(self._shares(self._seen())).get(measure)

    def _ratios(self, shares: Mapping[str, Tensor]) -> dict[str, float]:
        ratios = {f"{name}/{LIVING}": shares[name] / least for name, least in self._least.items()}
        return finite(self._learner.replicas.mean(ratios))

    def _telling(self, seen: Mapping[str, list[Tensor]]) -> list[str]:
        """The networks that see enough different observations, in the mean over replicas."""
        numbers = {}
        for name, layers in seen.items():
            rows = layers[0].flatten(1)
            means = nn.functional.adaptive_avg_pool1d(rows[None], min(COLUMNS, rows.shape[1]))[0]
            scale = means.abs().amax(1).median().clamp_min(torch.finfo(means.dtype).tiny)
            different = (means / scale * FINENESS).round().unique(dim=0)
            numbers[name] = torch.tensor(float(len(different)), device=rows.device)
        return [name for name, number in finite(self._learner.replicas.mean(numbers)).items() if number >= FEWEST]

    def _shares(self, seen: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
        return {name: 1 - dormant_ratio(layers) for name, layers in seen.items()}

    @torch.no_grad()
    def _seen(self) -> dict[str, list[Tensor]]:
        """What the hidden units of each network say to the observations."""
        learner, networks = self._learner, with_units(self._learner)
        try:
            with Taps(layers_of(learner)) as taps:
                learner.outputs(self._batch)
        except RanTwiceError:
            return {}
        return {
            name: [taps.activations[layer.name].float() for layer in network.layers]
            for name, network in networks.items()
            if all(layer.name in taps.activations for layer in network.layers)
        }
