"""Numbers that are drawn ahead."""

import zlib

import numpy as np
import pytest

from envs.shifts.draws import Draws


def _expected(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(np.random.SeedSequence((seed, zlib.crc32(b"mine")))).random(n)


@pytest.mark.parametrize("size", [1, 3, 256, 300])
def test_blocks_change_no_number(size: int) -> None:
    draws = Draws("mine", 2, size, "random")
    draws.seed(5)
    taken = np.stack([draws.take() for _ in range(600)])
    for game in range(2):
        np.testing.assert_array_equal(taken[:, game].ravel(), _expected(5 + game, 600 * size))


def test_games_draw_each_for_itself() -> None:
    draws = Draws("mine", 3, 1, "random")
    draws.seed([4, 4, 9])
    first = draws.take(np.array([0, 2]))
    assert first[:, 0].tolist() == [_expected(4, 1)[0], _expected(9, 1)[0]]
    later = draws.take()
    assert later[:, 0].tolist() == [_expected(4, 2)[1], _expected(4, 1)[0], _expected(9, 2)[1]]
    draws.seed([None, 4, None])
    again = draws.take()
    assert again[:, 0].tolist() == [_expected(4, 3)[2], _expected(4, 1)[0], _expected(9, 3)[2]]
    assert draws.take(np.array([], np.intp)).shape == (0, 1)


def test_names_keep_draws_apart() -> None:
    one, other = Draws("mine", 1, 1, "random"), Draws("other", 1, 1, "random")
    one.seed(0)
    other.seed(0)
    assert one.take() != other.take()


def test_without_a_seed_no_two_are_equal() -> None:
    drawn = {float(draws.take()[game, 0]) for draws in (Draws("mine", 2, 1, "random") for _ in "ab") for game in (0, 1)}
    assert len(drawn) == 4


@pytest.mark.parametrize("size", [1, 100, 300])
@pytest.mark.parametrize("n_before", [0, 1, 256, 300])
def test_a_state_inside_a_block(size: int, n_before: int) -> None:
    draws, other = (Draws("mine", 2, size, "standard_normal") for _ in range(2))
    draws.seed(1)
    for _ in range(n_before):
        draws.take()
        draws.take(np.array([1]))
    state = draws.get_state()
    expected = [draws.take() for _ in range(300)]
    other.set_state(state)
    np.testing.assert_array_equal([other.take() for _ in range(300)], expected)
