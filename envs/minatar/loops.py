"""The two kernels of every game: loops over a batch, around the functions in which the games differ."""

from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any
from zlib import crc32

from envs.minatar.compiling import kernel
from envs.minatar.random import seed_generator, sticky_action

_begin: Any = None  # these three are each game's own, see `kernels`
_play: Any = None
_show: Any = None


def _reset(games: Any, players: Any, seeds: Any, boards: Any) -> None:
    """As in ``envs.minatar.batch``."""
    for i in range(len(games)):
        if seeds[i] >= 0:
            seed_generator(players[i], seeds[i])
            players[i].last_action = 0
        players[i].elapsed = 0
        _begin(games[i], players[i])
        _show(games[i], boards[i])


def _step(
    games: Any,
    players: Any,
    actions: Any,
    active: Any,
    boards: Any,
    last_boards: Any,
    rewards: Any,
    flags: Any,
    sticky: float,
    ramping: bool,
    limit: int,
) -> int:
    """As in ``envs.minatar.batch``."""
    n_ended = 0
    for i in range(len(games)):
        game, player = games[i], players[i]
        if active[i]:
            action = sticky_action(player, actions[i], sticky)
            reward, terminated = _play(game, player, action, ramping)
            player.elapsed += 1
            truncated = player.elapsed >= limit and not terminated
            rewards[i], flags[0, i], flags[1, i] = reward, terminated, truncated
            if terminated or truncated:
                _show(game, last_boards[i])
                n_ended += 1
                player.elapsed = 0
                _begin(game, player)
        _show(game, boards[i])
    return n_ended


def kernels(
    file: str,
    begin: Callable[[Any, Any], None],
    play: Callable[[Any, Any, int, bool], tuple[int, bool]],
    show: Callable[[Any, Any], None],
) -> tuple[Callable[..., None], Callable[..., int]]:
    """The ``reset`` and ``step`` of a game.

    Args:
        file: the game's module.
        begin: ``begin(game, player)`` makes an episode's first state.
        play: ``play(game, player, action, ramping)`` plays a frame; its reward, and whether the game is over.
        show: ``show(game, board)`` writes the observation.
    """
    version = f"{Path(file).stem}_{crc32(Path(file).read_bytes()):08x}"
    names = globals() | {"_begin": begin, "_play": play, "_show": show}
    return _compiled(_reset, names, version), _compiled(_step, names, version)


def _compiled(loop: Callable[..., Any], names: dict[str, Any], version: str) -> Callable[..., Any]:
    """``loop`` with global ``names`` of its own, kept on disk for this ``version`` of them.

    Functions passed as arguments, or held in a closure, look new to numba in every process; it would keep none of it.
    """
    function = FunctionType(loop.__code__, names)
    function.__qualname__ = f"{loop.__name__}_{version}"
    return kernel(function)
