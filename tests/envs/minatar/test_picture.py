"""Boards as pictures."""

import numpy as np

from envs.minatar.picture import BACKGROUND, COLOURS, picture


def test_each_channel_has_its_colour_in_its_cell() -> None:
    for channel, colour in enumerate(COLOURS):
        board = np.zeros((10, 10, 10), np.bool_)
        board[2, 7, channel] = True
        image = picture(board)
        assert (image.shape, image.dtype) == ((320, 320, 3), np.uint8)
        assert (image[64:96, 224:256] == colour).all()
        assert (image == BACKGROUND).all(axis=-1).sum() == 320 * 320 - 32 * 32


def test_the_last_channel_is_seen() -> None:
    board = np.zeros((10, 10, 10), np.bool_)
    board[0, 0, [1, 3]] = True
    assert picture(board)[0, 0].tolist() == list(COLOURS[3])


def test_colours_are_told_apart() -> None:
    colours = np.array([BACKGROUND, *COLOURS], int)
    distances = np.abs(colours[:, None] - colours[None]).sum(axis=-1)[~np.eye(11, dtype=bool)]
    assert distances.min() > 60
