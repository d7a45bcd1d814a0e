"""Optimizers that treat the weights of hidden layers differently from all else."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

import torch
from torch import Tensor


class HiddenWeights(torch.optim.Optimizer):
    """Base of optimizers that treat the weights of hidden layers differently from all else.

    Which these are lies in each group under ``hidden``, by their places in it, and so in the state dict. As long as
    nobody calls `choose`, they are all parameters that `fits` takes.
    """

    def fits(self, parameter: Tensor) -> bool:
        """Whether a parameter has the dimensions of such a weight."""
        return parameter.dim() >= 2

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """torch's own."""
        super().add_param_group(param_group)
        self._choose(self.param_groups[-1], {*self.param_groups[-1]["params"]})

    def choose(self, weights: AbstractSet[Tensor]) -> None:
        """Take none but these for weights of hidden layers; an optimizer knows no output layer by itself."""
        for group in self.param_groups:
            self._choose(group, weights)

    def _choose(self, group: dict[str, Any], weights: AbstractSet[Tensor]) -> None:
        group["hidden"] = [i for i, p in enumerate(group["params"]) if self.fits(p) and p in weights]
