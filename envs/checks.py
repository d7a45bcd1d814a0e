"""Checks of arguments; every refusal is one sentence that names the key, the value and the remedy."""

import difflib
import math
import operator
from collections.abc import Iterable
from numbers import Integral, Real


def check_int(key: str, value: object, minimum: int, remedy: str, *, maximum: int | None = None) -> int:
    """Return ``value`` as an int.

    Raises:
        ValueError: it is not a whole number of at least ``minimum``, and at most ``maximum`` where that is given; True
            and False are not numbers here.
    """
    too_large = maximum is not None and isinstance(value, Integral) and not value <= maximum
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum or too_large:
        bound = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise ValueError(f"{key} must be a whole number {bound}, got {value!r}; {remedy}")
    return operator.index(value)


def check_number(
    key: str, value: object, remedy: str, *, above: float = -math.inf, low: float = -math.inf, high: float = math.inf
) -> float:
    """Return ``value`` as a float.

    Raises:
        ValueError: it is not a finite number from ``low`` to ``high`` and larger than ``above``; True and False are
            not numbers here.
    """
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    except OverflowError:  # a whole number with hundreds of digits
        number = math.nan
    if not math.isfinite(number) or number <= above or not low <= number <= high:
        bound = f" above {above}" if above > -math.inf else ""
        if low > -math.inf:
            bound = f" of at least {low}" if high == math.inf else f" from {low} to {high}"
        raise ValueError(f"{key} must be a finite number{bound}, got {value!r}; {remedy}")
    return number


def check_flag(key: str, value: object, remedy: str) -> bool:
    """Return ``value``.

    Raises:
        ValueError: it is neither True nor False.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{key} must be true or false, got {value!r}; {remedy}")
    return value


def check_choice(key: str, value: object, options: Iterable[str]) -> str:
    """Return ``value``.

    Raises:
        ValueError: it is not one of ``options``.
    """
    options = tuple(options)
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{key} must be one of {', '.join(options)}, got {value!r}{did_you_mean(value, options)}")
    return value


def check_argument(owner: str, key: str, known: Iterable[str], others: Iterable[str] = ()) -> None:
    """Refuse an argument that ``owner`` does not take.

    Args:
        owner: for messages: "the shift 'frame_skip'".
        key: the argument's name.
        known: those that it takes.
        others: names that may have been misspelt beside these.

    Raises:
        ValueError: it does not take it.
    """
    known = tuple(known)
    if key not in known:
        remedy = did_you_mean(key, (*known, *others)) or "; remove it"
        raise ValueError(f"{owner} takes no argument {key!r}, only {', '.join(known)}{remedy}")


def did_you_mean(value: object, options: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the option closest to ``value``, or ``""`` if none is close."""
    close = closest(value, options)
    return "" if close is None else f"; did you mean {close!r}?"


def closest(value: object, options: Iterable[str]) -> str | None:
    """The option that is spelt most like ``value``, letter case aside, or None if none is close."""
    by_lower = {option.lower(): option for option in options}
    close = difflib.get_close_matches(str(value).lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None
