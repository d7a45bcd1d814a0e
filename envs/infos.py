"""Pieces of the infos of a batch: Gymnasium's dicts of arrays, ``key`` with its mask ``_key``.

Numbers and arrays that are alike in all games become one array with a row for each; all else is kept as it was said, in
an array of objects.
"""

from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray

UNSCALED = "unscaled_return"
"""Key of the info of a step that ends an episode: the return before rewards were scaled."""
_Row = tuple[np.dtype[Any], tuple[int, ...]]

_PYTHONS: dict[type, np.dtype[Any]] = {bool: np.dtype(bool), int: np.dtype(np.int64), float: np.dtype(np.float64)}
"""Types of arrays whose entries are read as Python's."""


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
        space: of a batch of observations.
        final_obs: of the games that ended by themselves, as in ``envs.games.Games``; None where none did.
        observations: of all games.
        cut: which games did not end by themselves, shape (n_envs,).
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
    """The part of a vector info that belongs to one game; numbers of 64 bits and truth values are Python's."""
    own = {}
    for key, values in info.items():
        if f"_{key}" not in info or not info[f"_{key}"][game]:
            continue  # a mask, or a key that other games gave
        own[key] = _value_of(values, game)
    return own


def copied(value: Any) -> Any:
    """A copy, which the game cannot change any more; of what cannot be copied, such as a lock, the thing itself."""
    if type(value) is np.ndarray and value.dtype != object:
        return value.copy()
    if value is None or isinstance(value, str):
        return value
    try:
        return deepcopy(value)
    except Exception:
        return value


def add_info(infos: dict[str, Any], said: dict[str, Any], game: int, size: int) -> None:
    """Add to a vector info of ``size`` games what one of them says.

    Raises:
        ValueError: a key is the mask of another one.
    """
    for key, value in said.items():
        mask = f"_{key}"
        if f"_{mask}" in infos or (str(key).startswith("_") and str(key)[1:] in infos):
            raise ValueError(
                f"an info has the key {key!r} beside one that differs by an underscore in front, which marks in "
                "Gymnasium's vector infos who said it; rename one of them"
            )
        kept = infos.get(key)
        if key != "final_obs" and isinstance(value, dict) and (kept is None or isinstance(kept, dict)):
            infos[key] = {} if kept is None else kept
            add_info(infos[key], value, game, size)
        else:
            infos[key] = _with(kept, infos.get(mask), value, game, size, None if key == "final_obs" else _row(value))
        if mask not in infos:
            infos[mask] = np.zeros(size, np.bool_)
        infos[mask][game] = True


def merge_infos(merged: dict[str, Any], info: dict[str, Any], games: NDArray[np.bool_]) -> None:
    """Add to a vector info, which owns its arrays, what another one says of ``games``, a mask of shape (n_envs,)."""
    for key, values in info.items():
        mask = f"_{key}"
        if mask not in info or not (info[mask] & games).any():
            continue  # a mask, or what only other games said
        said = info[mask] & games
        kept = merged.get(key)
        if isinstance(values, dict) and (kept is None or isinstance(kept, dict)):
            merge_infos(merged.setdefault(key, {}), values, said)
        else:
            if kept is None:
                kept = np.full(len(said), None, object) if values.dtype == object else np.zeros_like(values)
            elif not _alike(kept, values):
                kept, values = _objects(kept, merged[mask]), _objects(values, said)
            kept[said] = values[said]
            merged[key] = kept
        merged[mask] = merged.get(mask, False) | said


def _with(kept: Any, mask: Any, value: Any, game: int, size: int, row: _Row | None) -> NDArray[Any]:
    """The array of what games have said under a key, ``kept`` so far, with a ``value`` that fits into such a row."""
    if kept is None:
        kept = np.full(size, None, object) if row is None else np.zeros((size, *row[1]), row[0])
    elif row is None or not isinstance(kept, np.ndarray) or (kept.dtype, kept.shape[1:]) != row:
        kept = _objects(kept, mask)
    array: NDArray[Any] = kept
    array[game] = copied(value) if array.dtype == object else value
    return array


def _row(value: Any) -> _Row | None:
    """Type and shape of a number or a numeric array; None for all else, and for whole numbers that are too large."""
    kind = type(value)
    if kind in _PYTHONS:
        return None if kind is int and not -(2**63) <= value < 2**63 else (_PYTHONS[kind], ())
    if kind is np.ndarray:
        return (value.dtype, value.shape) if value.ndim and value.dtype != object else None
    return (value.dtype, ()) if isinstance(value, np.number | np.bool_) else None


def _objects(values: Any, mask: NDArray[np.bool_]) -> NDArray[Any]:
    """An array of objects with what each game of ``mask`` has said."""
    if isinstance(values, np.ndarray) and values.dtype == object:
        return values
    objects = np.full(len(mask), None, object)
    for game in np.flatnonzero(mask).tolist():
        objects[game] = _value_of(values, game)
    return objects


def _value_of(values: Any, game: int) -> Any:
    if isinstance(values, dict):
        return info_of(values, game)
    value = values[game]
    return value.item() if isinstance(value, np.generic) and value.dtype in _PYTHONS.values() else value


def _alike(one: Any, other: Any) -> bool:
    """Whether both are arrays of the same type and shape."""
    return (
        isinstance(one, np.ndarray)
        and isinstance(other, np.ndarray)
        and (one.dtype, one.shape) == (other.dtype, other.shape)
    )
