"""The kernels that the games share."""

from pathlib import Path

import numba
import numpy as np
import pytest

from envs.minatar import asterix, breakout, freeway, seaquest, space_invaders
from envs.minatar.random import PLAYER

GAME = """
import numpy as np
from envs.minatar.compiling import subroutine
from envs.minatar.loops import kernels

GAME = np.dtype([("x", np.int32)])

@subroutine
def _begin(game, player):
    game.x = 1

@subroutine
def _play(game, player, action, ramping):
    game.x += action
    return {reward} * game.x, game.x > 5

@subroutine
def _show(game, board):
    board[0] = game.x

reset, step = kernels(__file__, _begin, _play, _show)
"""


def _rewards(file: Path, reward: int) -> tuple[list[float], bool]:
    """Of four steps of the game that this makes; whether its ``step`` came from disk."""
    file.write_text(GAME.format(reward=reward))
    made: dict[str, np.dtype] = {"__file__": str(file)}  # type: ignore[type-arg]
    exec(file.read_text(), made)
    games, players = np.zeros(1, made["GAME"]), np.zeros(1, PLAYER)
    boards, last_boards = np.zeros((2, 1, 1000), np.uint8)
    rewards, flags, everyone = np.zeros(1), np.zeros((2, 1), np.bool_), np.ones(1, np.bool_)
    made["reset"](games, players, np.zeros(1, int), boards)  # type: ignore[operator]
    seen = []
    for _ in range(4):
        step = made["step"]
        step(games, players, np.full(1, 2), everyone, boards, last_boards, rewards, flags, 0.0, True, 9)  # type: ignore[operator]
        seen.append(rewards[0])
    return seen, bool(step.stats.cache_hits)  # type: ignore[attr-defined]


def test_what_is_kept_on_disk_follows_the_games_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where games look alike to numba, which compares the types of what they are called with."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    assert _rewards(one, 1) == ([3, 5, 7, 3], False)
    assert _rewards(one, 1) == ([3, 5, 7, 3], True)
    assert _rewards(other, 1) == ([3, 5, 7, 3], False)
    assert _rewards(one, 10) == ([30, 50, 70, 30], False)
    assert _rewards(one, 1) == ([3, 5, 7, 3], True)


def test_each_game_has_its_own_kernels() -> None:
    games = (asterix, breakout, freeway, seaquest, space_invaders)
    names = {kernel.__qualname__ for game in games for kernel in (game.reset, game.step)}
    assert len(names) == 10
