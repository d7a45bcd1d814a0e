"""How long units have been silent, and how long they were before, in examples: what self-normalized resets count."""

from __future__ import annotations

import torch
from torch import Tensor

REMEMBERED = 0.99  # of what was counted before, at every firing: the last hundred or so count


class Silence:
    """When each unit of a layer fired.

    A unit fires in a minibatch if it puts out something else than 0 for one of the examples, at one of its positions or
    by one of its values. A minibatch is the shortest time: a unit that fires in all of them, of b examples, does so
    every b examples.

    Args:
        units: how many there are.
        device: of the tensors.

    Attributes:
        silent: examples since a unit fired last, or was new, (units,).
        firings: how many of its firings are remembered, (units,).
        between: the examples from each of those back to the firing before it, in all, (units,).
    """

    def __init__(self, units: int, device: torch.device) -> None:
        self.silent, self.firings, self.between = (torch.zeros(units, device=device) for _ in range(3))

    def take_in(self, a: Tensor) -> None:
        """One more minibatch of activations, (batch, units, ...)."""
        fired = (a != 0).any([0, *range(2, a.dim())])
        waited = self.silent + len(a)
        self.firings.copy_(torch.where(fired, REMEMBERED * self.firings + 1, self.firings))
        self.between.copy_(torch.where(fired, REMEMBERED * self.between + waited, self.between))
        self.silent.copy_(torch.where(fired, 0, waited))

    def clear(self, mask: Tensor) -> None:
        """The masked units are new."""
        for tensor in self.tensors().values():
            tensor.masked_fill_(mask, 0)

    def tensors(self) -> dict[str, Tensor]:
        """All that is known, by what it is called among a criterion's inputs."""
        return {"silent": self.silent, "firings": self.firings, "between": self.between}
