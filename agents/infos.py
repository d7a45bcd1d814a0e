"""Gymnasium's vector infos, dicts of arrays, as the list of dicts that Stable-Baselines3 reads."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from functools import wraps
from typing import Any, cast

import numpy as np

PYTHONS = tuple(np.dtype(kind) for kind in (bool, np.int64, np.float64))
"""Types of arrays whose entries are read as Python's bool, int and float."""
READING = (
    "__add__", "__contains__", "__delitem__", "__eq__", "__ge__", "__gt__", "__iadd__", "__imul__", "__iter__",
    "__le__", "__lt__", "__mul__", "__ne__", "__repr__", "__reversed__", "__rmul__", "append", "clear", "copy", "count",
    "extend", "index", "insert", "pop", "remove", "reverse", "sort",
)  # fmt: skip
"""Methods of a list that need all of it."""


def dicts_of(vector_infos: dict[str, Any], games: Sequence[int]) -> list[dict[str, Any]]:
    """The infos of these games, a dict of its own for each: under ``key`` what the mask ``_key`` marks."""
    infos: list[dict[str, Any]] = [{} for _ in games]
    chosen = np.asarray(games, np.int64)
    for key, values in vector_infos.items() if games else ():
        mask = vector_infos.get(f"_{key}")
        if mask is None:
            continue
        marked = np.asarray(mask)[chosen].nonzero()[0]
        told = chosen[marked]
        rows: Iterable[Any]
        if isinstance(values, dict):
            rows = dicts_of(values, told.tolist())
        elif values.ndim == 1 and (values.dtype in PYTHONS or values.dtype.kind in "SU"):
            rows = values[told].tolist()
        else:
            rows = values[told]
        for place, value in zip(marked.tolist(), rows, strict=True):
            infos[place][key] = value
    return infos


class ConstantInfos:
    """What a stream says in every step, by the same read-only arrays: its dicts are made once, and then copied.

    Args:
        vector_infos: in which they are.
    """

    def __init__(self, vector_infos: dict[str, Any]) -> None:
        self._arrays = {
            key: vector_infos[key]
            for name, values in vector_infos.items()
            if _is_constant(values) and _is_constant(vector_infos.get(f"_{name}"))
            for key in (name, f"_{name}")
        }
        self._dicts: dict[int, dict[str, Any]] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._arrays

    def are_those_of(self, vector_infos: dict[str, Any]) -> bool:
        """Whether other infos have the same arrays, and no others that are constant."""
        return all(vector_infos.get(key) is array for key, array in self._arrays.items()) and not any(
            _is_constant(values) and _is_constant(vector_infos.get(f"_{key}"))
            for key, values in vector_infos.items()
            if key not in self._arrays
        )

    def dicts(self, games: Sequence[int]) -> list[dict[str, Any]]:
        """The infos of these games, as no episode has ended."""
        try:
            return [self._dicts[game].copy() for game in games]
        except KeyError:
            for game, info in zip(games, dicts_of(self._arrays, games), strict=True):
                self._dicts[game] = {**info, "TimeLimit.truncated": False}
            return self.dicts(games)


class Infos(list[dict[str, Any]]):
    """One info for each game of a step in which no episode has ended, made when it is first read.

    ``x += infos`` of a list x binds x to a new list, where that of two plain lists changes x in place.

    Args:
        n_envs: games.
        constant: what the vector info says in every step.
        vector_infos: of the step; its other arrays are copied, for whoever made them may write to them.
    """

    def __init__(self, n_envs: int, constant: ConstantInfos, vector_infos: dict[str, Any]) -> None:
        super().__init__(cast(list[dict[str, Any]], [None] * n_envs))  # None until it is made
        self._constant = constant
        self._changing = _copied(vector_infos, constant)
        self._made: set[int] = set()  # games
        self._complete = self._asked = False  # all have been made; one has been, for who asked for it alone

    def take(self, games: Sequence[int]) -> list[dict[str, Any]]:
        """The infos of these games."""
        if not self._complete:
            missing = [game for game in games if game not in self._made]
            self.put(missing, self._new(missing))
        return [list.__getitem__(self, game) for game in games]

    def put(self, games: Sequence[int], infos: Sequence[dict[str, Any]]) -> None:
        """Set the infos of these games."""
        for game, info in zip(games, infos, strict=True):
            list.__setitem__(self, game, info)
        self._made.update(games)

    def may_have(self, *keys: str) -> Sequence[int]:
        """The games whose infos may have one of the keys: all where games say it, else those that have been read."""
        if self._complete or any(key in self._changing or key in self._constant for key in keys):
            return range(len(self))
        return sorted(self._made)

    def forget(self, key: str) -> None:
        """Forget what games of a step say under a key; what is said alike in every step stays."""
        for name in (key, f"_{key}"):
            self._changing.pop(name, None)
        for game in self._made:
            list.__getitem__(self, game).pop(key, None)

    def read(self) -> None:
        """Make all that are missing."""
        if not self._complete:
            self._complete = True
            made = {game: list.__getitem__(self, game) for game in self._made}
            list.__setitem__(self, slice(None), self._new(range(len(self))))
            self.put([*made], [*made.values()])

    def _new(self, games: Sequence[int]) -> list[dict[str, Any]]:
        infos = self._constant.dicts(games)
        if self._changing:
            for info, own in zip(infos, dicts_of(self._changing, games), strict=True):
                info.update(own)
        return infos

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            self.read()
        info = list.__getitem__(self, index)
        if info is not None or self._complete:
            return info
        if self._asked:  # who asks for a second one goes through all
            self.read()
            return list.__getitem__(self, index)
        self._asked = True
        return self.take([range(len(self))[index]])[0]

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            self.read()
            list.__setitem__(self, index, value)
        else:
            self.put([range(len(self))[index]], [value])

    def __radd__(self, other: list[Any]) -> list[Any]:
        return other + self.copy()

    def __reduce__(self) -> Any:
        return list, (self.copy(),)


def _reading(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def read(self: Infos, *args: Any, **kwargs: Any) -> Any:
        self.read()
        return method(self, *args, **kwargs)

    return read


for _name in READING:
    setattr(Infos, _name, _reading(getattr(list, _name)))


def _is_constant(values: Any) -> bool:
    """Whether nobody can change an array, nor an entry of it; a read-only view may be of memory that is written to."""
    if not isinstance(values, np.ndarray) or not values.flags.owndata or values.flags.writeable or values.ndim != 1:
        return False
    return values.dtype.kind not in "OV" or all(type(value) is str for value in values.tolist())


def _copied(vector_infos: dict[str, Any], without: Container[str] = ()) -> dict[str, Any]:
    """What a mask tells the games of, and the masks: nobody reads more."""
    copied = {}
    for key, values in vector_infos.items():
        if f"_{key}" in vector_infos and key not in without:
            copied[key] = _copied(values) if isinstance(values, dict) else np.array(values)
            copied[f"_{key}"] = np.array(vector_infos[f"_{key}"])
    return copied
