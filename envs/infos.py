"""Pieces of the infos of a batch: Gymnasium's dicts of arrays, ``key`` with its mask ``_key``."""

from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray


def constant(value: Any, size: int) -> NDArray[Any]:
    """A read-only array of ``size`` times ``value``; text is kept as objects, as Gymnasium's vector infos keep it."""
    array = np.full(size, value, object if isinstance(value, str) else None)
    array.flags.writeable = False
    return array


def final_observations(
    space: Space[Any], final_obs: NDArray[Any] | None, observations: Any, cut: NDArray[np.bool_]
) -> NDArray[Any]:
    """Last observations of all games where every episode ends: of those ``cut`` the present ones, else ``final_obs``.

    Args:
        space: Of a batch of observations.
        final_obs: Of the games that ended by themselves, as in ``envs.games.Games``; None where none did.
        observations: Of all games.
        cut: Which games did not end by themselves, shape (n_envs,).
    """
    if isinstance(observations, np.ndarray) and (final_obs is None or final_obs.dtype == observations.dtype):
        last = observations.copy()  # an array that is handed out belongs to who got it
        if final_obs is not None:
            last[~cut] = final_obs[~cut]
        return last
    last = np.full(len(cut), None, object) if final_obs is None else final_obs
    present = list(iterate(space, observations))
    for game in np.flatnonzero(cut).tolist():
        last[game] = present[game]
    return last


def info_of(info: dict[str, Any], game: int) -> dict[str, Any]:
    """The part of a vector info that belongs to one game."""
    own = {}
    for key, values in info.items():
        if f"_{key}" not in info or not info[f"_{key}"][game]:
            continue  # a mask, or a key that other games gave
        value = info_of(values, game) if isinstance(values, dict) else values[game]
        # numpy's bool would turn the array it is put into to one of objects
        own[key] = bool(value) if isinstance(value, np.bool_) else value
    return own
