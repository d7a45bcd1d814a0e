"""The five MinAtar games: batches of them, compiled, and one at a time, played by the ``minatar`` package.

Both are the package's games step for step, from the same seeds. Importing this loads neither numba nor the package.

>>> games = make_games("breakout", 1024)
>>> observations, info = games.reset(seed=0)
>>> observations.shape
(1024, 10, 10, 10)
"""

import warnings
from functools import cache, partial
from typing import Any

from envs.checks import check_int
from envs.games import Games, SyncGames
from envs.minatar.batch import MinAtarGames
from envs.minatar.package import MinAtarEnv

__all__ = ["MinAtarEnv", "MinAtarGames", "make_games"]


def make_games(game: str, n_envs: int, **kwargs: Any) -> Games:
    """``n_envs`` games as one batch: ``MinAtarGames``, or where numba cannot be imported the package's, which are slow.

    Args:
        game: one of ``envs.catalogue.GAMES``.
        n_envs: games played side by side.
        kwargs: further arguments of ``MinAtarGames``.

    Raises:
        ValueError: an argument is out of range.
    """
    try:
        import numba  # noqa: F401
    except ImportError as error:  # also raised where numba is too old for the installed numpy
        _warn_of_the_slow_path(str(error))
        n_envs = check_int("n_envs", n_envs, 1, "give the number of games played side by side")
        return SyncGames([partial(MinAtarEnv, game, **kwargs)] * n_envs, game)
    return MinAtarGames(game, n_envs, **kwargs)


@cache
def _warn_of_the_slow_path(reason: str) -> None:
    """Once in a process, for each reason."""
    warnings.warn(
        f"numba cannot be imported ({reason}), so MinAtar is played by the minatar package itself, one game after the "
        "other, tens to hundreds of times slower with the same results; pip install numba",
        stacklevel=3,
    )
