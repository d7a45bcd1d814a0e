"""What buffers that live on the learner's device share: which may, and how the host sends to them without waiting."""

from __future__ import annotations

import warnings
from math import prod
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

DEVICES = {"cuda"}
"""Kinds of devices with memory of their own, to which every minibatch would have to be sent."""
SHARE = 0.5
"""Of the memory that is free on a device the most that a buffer takes; networks and their updates need some, too."""
DTYPES = {
    np.dtype(kind): torch.from_numpy(np.zeros(0, kind)).dtype
    for kind in (np.bool_, np.uint8, np.int8, np.int16, np.int32, np.int64, np.float16, np.float32, np.float64)
}
"""Those of arrays that a device can hold as they are."""


def takes(space: spaces.Space[Any]) -> bool:
    """Whether one tensor can hold what is of a space, as it comes."""
    return space.shape is not None and space.dtype in DTYPES


def has_room(device: torch.device, needed: int, what: str) -> bool:
    """Whether so many bytes may be taken on a device; a warning says where there is too little room.

    Args:
        device: the learner's; of one without memory of its own nothing is taken.
        needed: bytes.
        what: of the buffer, for the warning.
    """
    if device.type not in DEVICES:
        return False
    free = free_bytes(device)
    if needed <= SHARE * free:
        return True
    warnings.warn(
        f"{what} of {needed / 2**30:.1f} GiB stays in main memory, for {device} has {free / 2**30:.1f} GiB free, of "
        f"which it may take {SHARE:.0%}; a smaller one is kept there",
        stacklevel=2,
    )
    return False


def free_bytes(device: torch.device) -> int:
    """Memory that nobody uses."""
    return int(torch.cuda.mem_get_info(device)[0])


def sent(array: np.ndarray, device: torch.device) -> Tensor:
    """A copy of an array on a device, with the array's own order in memory; the host does not wait for it.

    To a GPU it goes through page-locked memory, which torch uses again and again, but gives away only after the device
    has read it: the array may be written over at once.
    """
    tensor = torch.from_numpy(array)
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True, copy=True)


def bytes_of(shape: tuple[int, ...], dtype: Any) -> int:
    """Memory of an array."""
    return prod(shape) * int(np.dtype(dtype).itemsize)
