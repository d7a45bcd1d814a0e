"""What a target network says of an update's next observations, asked once for several minibatches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Together:
    """Asks a network about several minibatches at once, where that gives the same bits as one after the other.

    How a row's sums are rounded may depend on how many rows a matrix product has; nothing says when. So the first time
    that minibatches of a size are asked about, it is done in both ways, and together from then on if all numbers were
    the same: products are made by the same kernels as long as shapes and threads are the same.
    """

    def __init__(self) -> None:
        self._alike: dict[tuple[Any, ...], bool] = {}

    @torch.no_grad()
    def ask(self, network: nn.Module, batches: Sequence[Any]) -> Sequence[Tensor]:
        """``[network(batch) for batch in batches]``, which have one shape; they stay on the CPU.

        Args:
            network: draws nothing at random, and says of a row what it says of it in any other batch.
            batches: of observations.
        """
        if len(batches) == 1:
            return [network(batches[0])]
        shapes = tuple(parameter.shape for parameter in network.parameters())
        key = (len(batches), batches[0].shape, shapes, torch.get_num_threads())
        if not self._alike.get(key, True):
            return [network(batch) for batch in batches]
        found: Sequence[Tensor] = network(torch.cat([*batches])).split(len(batches[0]))
        if key not in self._alike:
            alone = [network(batch) for batch in batches]
            self._alike[key] = all(map(torch.equal, found, alone))
            return alone
        return found
