"""Processes that train copies of the same networks, each on data of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class Replicas:
    """What copies of a network must agree on so that they stay copies.

    Every process must ask for the same things in the same order.

    Args:
        group: the processes; None for this one alone.
    """

    def __init__(self, group: ProcessGroup | None = None) -> None:
        self._group = group

    def mean(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mean over the processes, element by element, of those that are finite; nan where none is."""
        if self._group is None or not tensors:
            return dict(tensors)
        flat = torch.cat([tensor.detach().flatten().double() for tensor in tensors.values()])
        finite = flat.isfinite()
        sums = torch.stack([torch.where(finite, flat, 0), finite.double()])
        torch.distributed.all_reduce(sums, group=self._group)
        pieces = (sums[0] / sums[1]).split([tensor.numel() for tensor in tensors.values()])
        return {
            name: piece.view_as(tensor).to(tensor.dtype)
            for (name, tensor), piece in zip(tensors.items(), pieces, strict=True)
        }

    def first(self, number: int, device: torch.device) -> int:
        """The number that the first process has."""
        if self._group is None:
            return number
        numbers = torch.tensor([number], device=device)
        torch.distributed.broadcast(numbers, group=self._group, group_src=0)
        return int(numbers)


ALONE = Replicas()


def process_group() -> ProcessGroup | None:
    """The default group of processes; None where none is up, or this is its only process."""
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() < 2:
        return None
    return distributed.group.WORLD
