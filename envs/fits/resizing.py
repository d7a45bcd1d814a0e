"""Images in another height and width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_EXACT = 2**24  # below this float32 holds all whole numbers


class Resizing:
    """Gives 8-bit images another height and width: each pixel is the mean of the area that it covers, rounded.

    The means are of exact sums, so that they are the same on every machine. What is computed in is kept, since taking
    that much memory anew takes as long as the rest.

    Args:
        count: the most images at once.
        sides: channels, height and width of the images.
        size: height and width that they get.

    >>> Resizing(1, (1, 1, 4), (1, 2))(np.array([[[[0, 10, 20, 40]]]], np.uint8)).tolist()
    [[[[5, 30]]]]
    """

    def __init__(self, count: int, sides: Sequence[int], size: Sequence[int]) -> None:
        channels, height, width = sides
        # Sums of whole numbers are exact as long as the type holds them, in whatever order they are added up.
        dtype = np.float32 if 255 * height * width < _EXACT else np.float64
        self._rows = overlaps(height, size[0]).astype(dtype)
        self._columns = np.ascontiguousarray(overlaps(width, size[1]).T, dtype)
        self._area = dtype(height * width)
        self._images = np.empty((count, channels, height, width), dtype)
        self._narrow = np.empty((count, channels, size[0], width), dtype)
        self._sums = np.empty((count, channels, *size), dtype)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images, (n, channels, height, width) -> others of that form."""
        found, narrow, sums = (each[: len(images)] for each in (self._images, self._narrow, self._sums))
        np.copyto(found, images)
        np.matmul(self._rows, found, out=narrow)
        np.matmul(narrow, self._columns, out=sums)
        np.divide(sums, self._area, out=sums)
        np.rint(sums, out=sums)
        return sums.astype(np.uint8)


def overlaps(old: int, new: int) -> NDArray[np.int64]:
    """How much of each of ``old`` pixels each of ``new`` ones covers, in 1/new of a pixel: (new, old).

    >>> overlaps(3, 2).tolist()
    [[2, 1, 0], [0, 1, 2]]
    """
    olds, news = np.arange(old) * new, np.arange(new)[:, None] * old
    covered: NDArray[np.int64] = np.minimum(olds + new, news + old) - np.maximum(olds, news)
    return np.maximum(covered, 0)
