"""Boards as pictures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}
CELL = 32  # pixels

BACKGROUND = (18, 18, 26)
COLOURS = (
    (78, 166, 255),
    (235, 87, 87),
    (128, 128, 140),
    (247, 200, 70),
    (255, 140, 40),
    (96, 205, 110),
    (190, 100, 230),
    (90, 220, 220),
    (250, 150, 190),
    (240, 240, 240),
)
"""Of each channel; none comes twice, and all are bright on the background."""

_PALETTE = np.array((BACKGROUND, *COLOURS), np.uint8)


def picture(board: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """An observation, (10, 10, 10), as an RGB image, (320, 320, 3); where channels meet the last one is seen."""
    highest = board.shape[-1] - np.argmax(board[..., ::-1], axis=-1)
    seen = np.where(board.any(axis=-1), highest, 0)
    return _PALETTE[seen].repeat(CELL, axis=0).repeat(CELL, axis=1)
