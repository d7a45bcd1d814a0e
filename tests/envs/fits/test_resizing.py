"""Images in another height and width, by numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.fits.resizing import Resizing


def resized(images: np.ndarray, size: Any) -> np.ndarray:
    return Resizing(len(images) + 1, images.shape[1:], size)(images)


@pytest.mark.parametrize(
    ("rows", "size", "expected"),
    [
        ([[0, 10, 20, 40], [0, 10, 20, 40]], [1, 2], [[5, 30]]),  # means of 2x2
        ([[9, 3, 6]], [1, 2], [[7, 5]]),  # (2 x 9 + 1 x 3) / 3 and (1 x 3 + 2 x 6) / 3
        ([[8], [2]], [3, 1], [[8], [5], [2]]),  # the middle one covers a third of both
        ([[1, 2], [3, 4]], [4, 4], [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]),
        ([[1, 2], [2, 2]], [1, 1], [[2]]),  # 1.75, rounded
    ],
)
def test_pixels_are_the_means_of_their_areas(rows: Any, size: Any, expected: Any) -> None:
    assert resized(np.array([[rows]], np.uint8), size)[0, 0].tolist() == expected


def test_resizing_is_exact_where_float32_is_not() -> None:
    """A sum of 258 x 258 pixels of 255 is above 2**24; all batches and channels are alike."""
    white = np.full((3, 2, 258, 258), 255, np.uint8)
    assert (resized(white, (83, 300)) == 255).all()
    noise = np.random.default_rng(0).integers(0, 256, (4, 3, 64, 48), np.uint8)
    small = resized(noise, (32, 24))
    means = noise.reshape(4, 3, 32, 2, 24, 2).astype(int).sum((3, 5)) / 4
    np.testing.assert_array_equal(small, np.rint(means))
    np.testing.assert_array_equal(resized(noise[1:2], (32, 24)), small[1:2])
