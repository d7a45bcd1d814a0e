"""Which batch is made, and what is imported for it."""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from envs.games import SyncGames
from envs.minatar import MinAtarGames, _warn_of_the_slow_path, make_games


def test_import_is_light() -> None:
    code = "import sys, envs.minatar; print(sorted({'numba', 'minatar', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_make_games() -> None:
    games = make_games("breakout", 3, episode_limit=5, render_mode="rgb_array")
    assert isinstance(games, MinAtarGames)
    assert (games.num_envs, games.episode_limit, games.render_mode) == (3, 5, "rgb_array")


@pytest.fixture
def no_numba(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """numba cannot be imported within."""
    _warn_of_the_slow_path.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "numba", None)
        yield patch


def test_without_numba_the_package_plays_the_same(no_numba: pytest.MonkeyPatch) -> None:
    with pytest.warns(UserWarning, match=r"numba cannot be imported .* the minatar package itself.*pip install numba"):
        slow = make_games("breakout", 3, episode_limit=8, sticky_prob=0.3)
    assert isinstance(slow, SyncGames)
    assert isinstance(make_games("asterix", 1), SyncGames)  # without a second warning, which would be an error here
    no_numba.undo()
    fast = make_games("breakout", 3, episode_limit=8, sticky_prob=0.3)
    assert isinstance(fast, MinAtarGames)
    np.testing.assert_array_equal(slow.reset(seed=4)[0], fast.reset(seed=4)[0])
    rng, n_ended = np.random.default_rng(0), 0
    for step in range(60):
        if step == 30:
            for games in (slow, fast):
                games.configure(sticky_prob=0.9)
        actions, active = rng.integers(6, size=3), rng.random(3) < 0.8
        (*ours, info), (*theirs, expected) = fast.step(actions, active), slow.step(actions, active)
        for array, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(array, other)
            assert array.dtype == other.dtype
        assert set(info) == set(expected)
        for i in np.flatnonzero(info.get("_final_obs", [])):
            np.testing.assert_array_equal(info["final_obs"][i], expected["final_obs"][i])
            n_ended += 1
        if "final_info" in info:
            assert info["final_info"] == expected["final_info"] == {}
            np.testing.assert_array_equal(info["_final_info"], expected["_final_info"])
    assert n_ended > 10


@pytest.mark.usefixtures("no_numba")
def test_without_numba_arguments_are_checked_too() -> None:
    with (
        pytest.warns(UserWarning, match="pip install numba"),
        pytest.raises(ValueError, match="n_envs must be a whole number of at least 1"),
    ):
        make_games("breakout", 0)
