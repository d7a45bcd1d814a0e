"""States of games: arrays of records, saved as one array for each field, and checked when they come back.

The kernels check no index, so that a damaged state would make them read and write anywhere.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Bounds = Mapping[str, tuple[ArrayLike, ArrayLike]]
"""Of each field the least and the largest value, or arrays of these for the values in it."""


class Field(NamedTuple):
    """Whole numbers of a game: the least and the largest, their type, and the shape of several."""

    low: ArrayLike
    high: ArrayLike
    kind: type[np.integer[Any]] = np.int32
    shape: int | tuple[int, ...] = ()


def record(**fields: Field) -> tuple[np.dtype[Any], Bounds]:
    """The dtype of a game with these fields, and their bounds in a state."""
    dtype = np.dtype([(name, field.kind, field.shape) for name, field in fields.items()])
    return dtype, {name: (field.low, field.high) for name, field in fields.items()}


def columns(records: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """A copy of each field."""
    return {name: records[name].copy() for name in records.dtype.names or ()}


def restored(values: Any, n: int, dtype: np.dtype[Any], bounds: Bounds) -> NDArray[Any]:
    """The ``n`` records of ``dtype``, all of whole numbers, that ``columns`` made ``values`` of.

    Raises:
        ValueError: a field is missing or not known, has another shape or no whole numbers, or a value out of
            ``bounds``.
    """
    names = dtype.names or ()
    require_names(values, names)
    records = np.zeros(n, dtype)
    for name in names:
        given, field = np.asarray(values[name]), records[name]
        if given.shape != field.shape or given.dtype.kind not in "iu":  # of any width: lists too, as from JSON
            raise _damaged(f"{name} should be whole numbers of shape {field.shape}")
        low, high = bounds[name]
        if ((given < low) | (given > high)).any():
            raise _damaged(f"{name} has values out of range")
        records[name] = given
    return records


def require_names(values: Any, names: Iterable[str]) -> None:
    """Refuse a part of a state that has not just these ``names``.

    Raises:
        ValueError: it has not.
    """
    names = tuple(names)
    if not isinstance(values, Mapping) or set(values) != set(names):
        raise _damaged(f"what should hold {', '.join(names)} does not")


def _damaged(reason: str) -> ValueError:
    """The refusal of a state."""
    return ValueError(f"the state is damaged or of another version of the game: {reason}; give one that get_state made")
