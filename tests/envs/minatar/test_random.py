"""The compiled generator against numpy's."""

from typing import Any

import numba
import numpy as np
import pytest

from envs.minatar.random import PLAYER, draw_below, draw_uniform, draw_word, seed_generator, sticky_action


@numba.njit
def _draw(player: Any, kinds: Any, out: Any) -> None:
    """A uniform number for kind 0, else one below the kind."""
    for i in range(len(kinds)):
        out[i] = draw_uniform(player) if kinds[i] == 0 else draw_below(player, kinds[i])


@numba.njit
def _seed(player: Any, seed: int) -> int:
    seed_generator(player, seed)
    return draw_word(player)


@numba.njit
def _stick(player: Any, action: int, probability: float) -> int:
    return sticky_action(player, action, probability)


def _seeded(seed: int) -> tuple[Any, np.random.RandomState]:
    player, reference = np.zeros(1, PLAYER)[0], np.random.RandomState(seed)
    assert _seed(player, seed) == reference.randint(2**32, dtype=np.uint32)
    return player, reference


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**31, 2**32 - 1])
def test_same_as_random_state(seed: int) -> None:
    """Several times through the 624 words, with draws of one word and of two, and such that are thrown away."""
    player, reference = _seeded(seed)
    kinds = np.random.default_rng(seed).integers(10, size=5000)
    drawn = np.empty(len(kinds))
    _draw(player, kinds, drawn)
    expected = [reference.rand() if kind == 0 else reference.randint(kind) for kind in kinds]
    np.testing.assert_array_equal(drawn, expected)
    _, key, position, *_ = reference.get_state()
    np.testing.assert_array_equal(player["key"], key)
    assert player["position"] == position


def test_known_words() -> None:
    """The first output of the reference implementation with its default seed, and numpy's documented layout."""
    player = np.zeros(1, PLAYER)[0]
    assert _seed(player, 5489) == 3499211612
    assert player["position"] == 1


def test_sticky_action() -> None:
    player, reference = _seeded(3)
    last, played, expected = 0, [], []
    for step in range(200):
        action = 1 + step % 5
        last = last if reference.rand() < 0.3 else action
        expected.append(last)
        played.append(_stick(player, action, 0.3))
    assert played == expected
    assert _stick(player, 5, 0.0) == 5
    assert _stick(player, 1, 1.0) == 5
