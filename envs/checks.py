"""Checks of arguments; every refusal is one sentence that names the key, the value and the remedy."""

import difflib
import operator
from collections.abc import Iterable

import numpy as np


def check_int(key: str, value: object, minimum: int, remedy: str) -> int:
    """Return ``value`` as an int.

    Raises:
        ValueError: If it is not a whole number of at least ``minimum``; True and False are not numbers here.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise ValueError(f"{key} must be a whole number of at least {minimum}, got {value!r}; {remedy}")
    return operator.index(value)


def check_choice(key: str, value: object, options: Iterable[str]) -> str:
    """Return ``value``.

    Raises:
        ValueError: If it is not one of ``options``.
    """
    options = tuple(options)
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{key} must be one of {', '.join(options)}, got {value!r}{did_you_mean(value, options)}")
    return value


def did_you_mean(value: object, options: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the option closest to ``value``, letter case aside, or ``""`` if none is close."""
    by_lower = {option.lower(): option for option in options}
    close = difflib.get_close_matches(str(value).lower(), by_lower, n=1)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""
