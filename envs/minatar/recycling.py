"""Memory for the arrays of a step, used again when nobody holds them any more."""

import weakref

import numpy as np
from numpy.typing import NDArray

_KEPT = 4  # a loop holds this step's and the last one's


class Boards:
    """Observations of ``n`` games, in memory that is given out again once the array and all views of it are gone.

    To whoever holds them they are fresh arrays. A fresh megabyte from the system would cost its page faults in every
    step, several times what the games cost.
    """

    def __init__(self, n: int, n_channels: int) -> None:
        self._shape = (n, 10, 10, n_channels)
        self._free: list[bytearray] = []

    def __call__(self) -> NDArray[np.bool_]:
        """An array of shape (n, 10, 10, channels) that holds anything."""
        memory = self._free.pop() if self._free else bytearray(int(np.prod(self._shape)))
        # All views of an array that does not own its memory refer to it, so that it goes last.
        array = np.frombuffer(memory, np.bool_)
        weakref.finalize(array, self._take_back, memory).atexit = False
        return array.reshape(self._shape)

    def _take_back(self, memory: bytearray) -> None:
        if len(self._free) < _KEPT:
            self._free.append(memory)
