"""What an algorithm's settings may be, as plain data. Importing this loads no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

Schedule: TypeAlias = float | Callable[[float], float]
"""A number of at least 0, or what gives it for the share of training that remains."""


@dataclass(frozen=True)
class Setting:
    """An argument of an algorithm's constructor that a config can give.

    Attributes:
        type: int, float, bool, `Schedule`, or a union where `check` looks at all values.
        default: where it is left out; one of None may be given, too.
        meaning: what it is, in one line.
        ge: the least that it may be.
        gt: what it must be above.
        le: the most that it may be.
        check: of a value within the bounds, gives it as the constructor takes it, or raises a ValueError whose message
            goes on after "<key>=<value>".
    """

    type: Any
    default: Any
    meaning: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    check: Callable[[Any], Any] | None = None


def number(value: Any) -> float | None:
    """The finite number that a value of YAML is, which reads 1e-3 as text; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def gradient_steps(value: int) -> int:
    """Updates after each rollout; -1 stands for as many as steps taken."""
    if value == 0:
        raise ValueError("would learn nothing; give at least 1, or -1 for as many as steps taken")
    return value


def target_entropy(value: Any) -> Any:
    """A number, or ``auto``."""
    found = number(value)
    if found is None and value != "auto":
        raise ValueError("is neither auto nor a number; give auto, or a number such as -1.0")
    return value if found is None else found


def entropy_coefficient(value: Any) -> Any:
    """A number of at least 0, or ``auto``, with the positive number that it begins at behind an underscore."""
    if value == "auto":
        return value
    begin = value.removeprefix("auto_") if isinstance(value, str) else value
    learned, found = begin != value, number(begin)
    # SB3 reads no further than to the next underscore, which Python takes for a part of the number.
    if found is None or found < 0 or (learned and (found == 0 or "_" in begin)):
        raise ValueError("is no entropy coefficient; give auto, auto_0.1 to begin at 0.1, or a number such as 0.1")
    return value if learned else found
