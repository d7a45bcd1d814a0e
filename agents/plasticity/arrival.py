"""Numbers on their way from a device to the host, which does not wait for them."""

from __future__ import annotations

import torch
from torch import Tensor


class Arrival:
    """A copy of a tensor that a device sends to the host, to be read an update later, when it has long been there.

    Args:
        tensor: what is sent, as it is now.
    """

    def __init__(self, tensor: Tensor) -> None:
        # Where nothing is pinned, a copy that does not wait may be read too early.
        on_gpu = tensor.device.type == "cuda"
        self._copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=on_gpu)
        self._copy.copy_(tensor.detach(), non_blocking=on_gpu)
        self._sent = torch.cuda.Event() if on_gpu else None
        if self._sent is not None:
            self._sent.record(torch.cuda.current_stream(tensor.device))

    def read(self) -> Tensor:
        """The copy, on the host; waits if it is not there yet."""
        if self._sent is not None:
            self._sent.synchronize()
            self._sent = None
        return self._copy
