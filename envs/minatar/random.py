"""The generator of ``numpy.random.RandomState`` (MT19937) for compiled games, draw for draw.

Matsumoto and Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998), seeded and read as numpy's legacy generator is.
"""

from typing import Any

import numpy as np

from envs.minatar.columns import Field, record
from envs.minatar.compiling import helper, subroutine

WORDS = 624
_SHIFT = 397  # distance of the words that are combined

PLAYER, BOUNDS = record(
    key=Field(0, 2**32 - 1, np.uint32, WORDS),
    position=Field(0, WORDS),
    last_action=Field(0, 5),
    elapsed=Field(0, 2**31 - 2),
)
"""What a game of any kind holds beside its board: its generator, its sticky action, and the steps of its episode."""


@subroutine
def seed_generator(player: Any, seed: int) -> None:
    """Start as ``RandomState(seed)``; 0 <= seed < 2**32. The words are mixed when the first of them is drawn."""
    key = player.key
    word = seed
    for i in range(WORDS):
        key[i] = word
        word = (1812433253 * (word ^ (word >> 30)) + i + 1) & 0xFFFFFFFF
    player.position = WORDS


@helper
def _mixed(word: int, following: int, distant: int) -> int:
    joined = (word & 0x80000000) | (following & 0x7FFFFFFF)
    return distant ^ (joined >> 1) ^ ((joined & 1) * 0x9908B0DF)


@subroutine
def _mix(key: Any) -> None:
    """Replace all words by the next ones. Two loops, so that each can be vectorised."""
    for i in range(WORDS - _SHIFT):
        key[i] = _mixed(key[i], key[i + 1], key[i + _SHIFT])
    for i in range(WORDS - _SHIFT, WORDS - 1):
        key[i] = _mixed(key[i], key[i + 1], key[i + _SHIFT - WORDS])
    key[WORDS - 1] = _mixed(key[WORDS - 1], key[0], key[_SHIFT - 1])


@subroutine
def draw_word(player: Any) -> int:
    """32 random bits."""
    if player.position >= WORDS:
        _mix(player.key)
        player.position = 0
    word = int(player.key[player.position])
    player.position += 1
    word ^= word >> 11
    word ^= (word << 7) & 0x9D2C5680
    word ^= (word << 15) & 0xEFC60000
    return word ^ (word >> 18)


@subroutine
def draw_uniform(player: Any) -> float:
    """``RandomState.rand()``: a number of [0, 1) with 53 random bits."""
    high, low = draw_word(player) >> 5, draw_word(player) >> 6
    return (high * 67108864.0 + low) / 9007199254740992.0


@subroutine
def draw_below(player: Any, n: int) -> int:
    """``RandomState.randint(n)``: draws until a word's last bits are below n, and nothing where n is 1."""
    if n == 1:
        return 0
    mask = 1
    while mask < n - 1:
        mask = 2 * mask + 1
    while True:
        word = draw_word(player) & mask
        if word < n:
            return word


@helper
def sticky_action(player: Any, action: int, probability: float) -> int:
    """The action played: with ``probability`` the last one that was played, else ``action``."""
    if draw_uniform(player) >= probability:
        player.last_action = action
    return int(player.last_action)
