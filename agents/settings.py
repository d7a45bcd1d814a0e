"""What an algorithm's settings may be, as plain data. Importing this loads no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Schedule: TypeAlias = float | Callable[[float], float]
"""A number of at least 0, or what gives it for the share of training that remains."""
Pair: TypeAlias = tuple[float, float]
NOISES: Mapping[str, Mapping[str, float | None]] = {
    "normal": {"sigma": None},
    "ornstein_uhlenbeck": {"sigma": None, "theta": 0.15, "dt": 0.01},
}
"""Name of a noise on actions -> its numbers, all above 0, and their defaults, as in Stable-Baselines3."""
REPLAYS: Mapping[str, Mapping[str, Any]] = {
    "uniform": {},
    "prioritized": {"alpha": 0.6, "beta": {"linear": [0.4, 1.0]}, "epsilon": 1e-6},
}
"""Name of a way in which transitions are drawn -> its settings and their defaults, of arXiv 1511.05952."""


SPEEDS = ("exact", "fast")
"""How an agent computes: to the last bit as Stable-Baselines3, or with other rounding where that takes less time."""


@dataclass(frozen=True)
class Setting:
    """An argument of an algorithm's constructor that a config can give.

    Attributes:
        type: int, float, bool, `Schedule`, `Pair`, or a union where `check` looks at all values; of an argument that
            holds arguments of its own, the settings of these.
        default: where it is left out; one of None may be given, too. Those of arguments of its own are their own.
        meaning: what it is, in one line.
        ge: the least that it may be.
        gt: what it must be above.
        le: the most that it may be.
        elsewhere: of an argument that holds others: those that no config gives here -> why, and what to do.
        check: of a value within the bounds, gives it as the constructor takes it, or raises a ValueError whose message
            goes on after "<key>=<value>".
    """

    type: Any
    default: Any = None
    meaning: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    elsewhere: Mapping[str, str] = field(default_factory=dict)
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


def clipping_range(value: Any) -> Any:
    """Anything but 0, which would keep the values as they were."""
    if number(value) == 0:
        raise ValueError("is too small; give a number above 0, or null for no clipping")
    return value


def decay_rates(value: Pair) -> Pair:
    """Of Adam's two moments, each from 0 to below 1."""
    if not all(0 <= rate < 1 for rate in value):
        raise ValueError("are no decay rates; give two numbers of at least 0 and below 1, such as [0.9, 0.999]")
    return value


def below_1(value: float) -> float:
    """A decay rate, below 1."""
    if value >= 1:
        raise ValueError("is no decay rate; give a number of at least 0 and below 1, such as 0.999")
    return value


def adjustment(value: str) -> str:
    """How Muon's steps are scaled, by torch's names."""
    if value not in ("match_rms_adamw", "original"):
        raise ValueError("is not known; give match_rms_adamw or original")
    return value


def speed(value: str) -> str:
    """One of `SPEEDS`."""
    if value not in SPEEDS:
        raise ValueError(f"is not known; give {' or '.join(SPEEDS)}")
    return value


def action_noise(value: Any) -> Any:
    """A standard deviation, or one of `NOISES` with its numbers, of which those left out are filled in."""
    if not isinstance(value, Mapping):
        return _above_0(value, "is no noise; give a standard deviation such as 0.1, or {name: normal, sigma: 0.1}")
    name, numbers = _named(value, NOISES)
    return {"name": name} | {
        key: _above_0(numbers[key], f"has no {key}; give a number above 0, such as {key}: {default or 0.1}", f"{key} ")
        for key, default in NOISES[name].items()
    }


def replay(value: Any) -> str | dict[str, Any]:
    """One of `REPLAYS`, by its name alone where it has no settings; of these, those left out are filled in.

    `beta` is a number, or ``{"linear": [first, last]}`` for one that goes from one to the other over the run.
    """
    if not isinstance(value, str | Mapping):
        raise ValueError("is no way to draw; give uniform or prioritized, or {name: prioritized, alpha: 0.6}")
    name, found = _named({"name": value} if isinstance(value, str) else value, REPLAYS)
    if name == "uniform":
        return name
    epsilon = number(found["epsilon"])
    if epsilon is None or epsilon <= 0:
        raise ValueError("has an impossible epsilon; give a number above 0, such as 1e-6")
    return {
        "name": name, "alpha": _share("alpha", found["alpha"]), "beta": _weighing(found["beta"]), "epsilon": epsilon,
    }  # fmt: skip


def _weighing(beta: Any) -> Any:
    match beta:
        case {"linear": [first, last]} if len(beta) == 1:
            return {"linear": [_share("beta", first), _share("beta", last)]}
        case Mapping():
            raise ValueError("has a beta that is no schedule; give a number such as 0.4, or {linear: [0.4, 1.0]}")
    return _share("beta", beta)


def _named(value: Mapping[Any, Any], known: Mapping[str, Mapping[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The name that a mapping gives, and its settings, of which those left out are filled in."""
    name = value.get("name")
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"has no known name; give name: {' or '.join(known)}")
    defaults = known[name]
    if strange := [key for key in value if key != "name" and key not in defaults]:
        choices = ", ".join(["name", *defaults])
        raise ValueError(f"has {strange[0]!r}, which {name} does not know; choose from {choices}")
    return name, {key: value.get(key, default) for key, default in defaults.items()}


def _share(key: str, value: Any) -> float:
    found = number(value)
    if found is None or not 0 <= found <= 1:
        raise ValueError(f"has an impossible {key}; give a number from 0 to 1")
    return found


def _above_0(value: Any, otherwise: str, owner: str = "") -> float:
    found = number(value)
    if found is None:
        raise ValueError(otherwise)
    if found <= 0:
        of = f"has a {owner}that " if owner else ""
        raise ValueError(f"{of}is too small; give a number above 0")
    return found


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
