"""Drift: how a parameter of a world changes over the steps of a segment.

>>> drift = drift_from({"kind": "linear", "start": 0.0, "end": 0.5, "steps": 1000, "every": 100})
>>> [drift.value(step) for step in (0, 99, 100, 1000)]
[0.0, 0.0, 0.05, 0.5]

The value is put into force by ``configure`` of the games, a shift or an environment, which take one parameter by name;
``bounds`` tells before a run whether it can become one that they would refuse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from envs import catalogue
from envs.checks import check_argument, check_choice, check_int, check_number


@dataclass(frozen=True)
class Drift:
    """The value of one parameter at every step of a segment: pure data, so that nothing of it needs saving.

    Args:
        every: the parameter changes at steps that are multiples of this number, and is constant in between; a step is
            one transition of one game, so that 1 changes it at every step of a batch.
    """

    every: int = field(default=1, kw_only=True)

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        check_int("every", self.every, 1, "give a number of steps such as 1000")

    def begin(self, seed: int) -> Drift:
        """The drift of one segment: kinds that draw, draw from ``seed``, the others are as they are."""
        check_int("seed", seed, 0, "give a number such as 0")
        return self

    def value(self, step: int) -> float:
        """The parameter at a step of the segment, counted from 0, whatever steps were asked for before.

        Raises:
            ValueError: ``step`` is not a whole number of at least 0.
        """
        return self._at(check_int("step", step, 0, "give the steps since the segment began") // self.every)

    @property
    def mapping(self) -> dict[str, Any]:
        """What `drift_from` makes this drift of."""
        return {"kind": self.kind} | {each.name: getattr(self, each.name) for each in fields(self) if each.init}

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value that the parameter can take."""
        raise NotImplementedError

    def _at(self, change: int) -> float:
        """The value after so many changes."""
        raise NotImplementedError


@dataclass(frozen=True)
class Linear(Drift):
    """From ``start`` in equal steps to ``end``, where it stays.

    Args:
        start: value at the first step.
        end: value from step ``steps`` on.
        steps: length of the way, at least 1.

    Raises:
        ValueError: an argument is out of range.

    >>> drift = Linear(start=10.0, end=2.0, steps=100_000)
    >>> drift.value(0), drift.value(50_000), drift.value(200_000), drift.bounds
    (10.0, 6.0, 2.0, (2.0, 10.0))
    """

    start: float
    end: float
    steps: int

    kind = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("start", self.start, "give the value at the first step")
        check_number("end", self.end, "give the last value")
        check_int("steps", self.steps, 1, "give the steps from start to end, such as 100000")

    @property
    def bounds(self) -> tuple[float, float]:
        """Both ends, the smaller first."""
        return min(self.start, self.end), max(self.start, self.end)

    def _at(self, change: int) -> float:
        share = min(change * self.every / self.steps, 1.0)
        low, high = self.bounds
        return min(max(self.start * (1 - share) + self.end * share, low), high)  # rounding may step over


@dataclass(frozen=True)
class Sinusoidal(Drift):
    """mean + amplitude sin(2 pi step / period + phase).

    Args:
        mean: the middle.
        amplitude: largest distance from it, at least 0.
        period: steps after which it comes again, above 0.
        phase: in radians.

    Raises:
        ValueError: an argument is out of range.

    >>> drift = Sinusoidal(mean=1.0, amplitude=0.5, period=4000)
    >>> [drift.value(step) for step in (0, 1000, 3000)]
    [1.0, 1.5, 0.5]
    """

    mean: float
    amplitude: float
    period: float
    phase: float = 0.0

    kind = "sinusoidal"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("mean", self.mean, "give the value in the middle")
        check_number("amplitude", self.amplitude, "give the largest distance from the mean", low=0)
        check_number("period", self.period, "give a number of steps such as 100000", above=0)
        check_number("phase", self.phase, "give radians, 0 begins at the mean")

    @property
    def bounds(self) -> tuple[float, float]:
        """The mean less and plus the amplitude."""
        return self.mean - self.amplitude, self.mean + self.amplitude

    def _at(self, change: int) -> float:
        return self.mean + self.amplitude * math.sin(math.tau * (change * self.every / self.period) + self.phase)


@dataclass
class _Path:
    """How far a walk has come: the sum of its Gaussian steps, which the bounds do not reflect."""

    generator: np.random.Generator
    taken: int = 0
    total: float = 0.0


@dataclass(frozen=True)
class RandomWalk(Drift):
    """A Gaussian step every ``every`` steps, reflected at two bounds.

    The walk is a free one that is folded at the bounds, which has the same law as one whose every step is reflected.
    It is drawn as far as it is asked for; an earlier step is drawn again from the seed, and gives the same value.

    Args:
        start: value at the first step, from ``low`` to ``high``.
        std: standard deviation of a step of the walk, at least 0.
        low: smallest value.
        high: largest value, above ``low``.
        seed: decides the walk; left out, ``begin`` gives one, so that every segment has a walk of its own.

    Raises:
        ValueError: an argument is out of range.

    >>> walk = RandomWalk(start=10.0, std=0.5, low=5.0, high=15.0, every=1000).begin(seed=3)
    >>> walk.value(999) == 10.0, walk.value(1000) == 10.0, walk.value(500_000) == walk.value(500_999)
    (True, False, True)
    """

    start: float
    std: float
    low: float
    high: float
    seed: int | None = None
    # One entry, how far the walk was drawn last; nothing that decides a value, and no part of what the drift is.
    _paths: list[_Path] = field(default_factory=list, init=False, repr=False, compare=False)

    kind = "random_walk"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("std", self.std, "give the standard deviation of a step, such as 0.1", low=0)
        low = check_number("low", self.low, "give the smallest value")
        high = check_number("high", self.high, f"give the largest value, above low={self.low}", above=low)
        check_number("start", self.start, "give a value between the bounds", low=low, high=high)
        if self.seed is not None:
            check_int("seed", self.seed, 0, "give a number such as 0, or leave it out")

    def begin(self, seed: int) -> RandomWalk:
        """The walk of one segment: drawn from ``seed``, unless it has a seed already."""
        super().begin(seed)
        return self if self.seed is not None else replace(self, seed=seed)

    @property
    def bounds(self) -> tuple[float, float]:
        """``low`` and ``high``."""
        return self.low, self.high

    def _at(self, change: int) -> float:
        if self.seed is None:
            raise ValueError("a random walk without a seed has no values, got seed=None; give one, or call begin(seed)")
        if not self._paths or change < self._paths[0].taken:
            self._paths[:] = [_Path(np.random.default_rng(self.seed))]
        path = self._paths[0]
        while path.taken < change:
            count = min(change - path.taken, 2**16)
            steps = path.generator.standard_normal(count)
            # Added one after the other, so that the values do not depend on how often they are asked for.
            path.total = float(np.cumsum(np.append(path.total, steps))[-1])
            path.taken += count
        return self._folded(self.start + self.std * path.total)

    def _folded(self, value: float) -> float:
        if self.low <= value <= self.high:
            return float(value)
        width = self.high - self.low
        distance = (value - self.low) % (2 * width)
        return min(max(self.low + min(distance, 2 * width - distance), self.low), self.high)


KINDS: Mapping[str, type[Drift]] = MappingProxyType({drift.kind: drift for drift in (Linear, Sinusoidal, RandomWalk)})
"""The class of every kind in ``envs.catalogue.DRIFTS``."""


def drift_from(mapping: object) -> Drift:
    """The drift that a mapping with ``kind`` and the kind's arguments stands for.

    Raises:
        ValueError: it is no mapping, the kind is unknown, or an argument is unknown, missing or out of range.

    >>> drift_from({"kind": "linear", "start": 10, "end": 2, "steps": 100_000})
    Linear(every=1, start=10, end=2, steps=100000)
    """
    if not isinstance(mapping, Mapping) or "kind" not in mapping:
        raise ValueError(
            f"a drift must be a mapping with a kind, got {mapping!r}; "
            "write {'kind': 'linear', 'start': 10, 'end': 2, 'steps': 100000}"
        )
    arguments: dict[str, Any] = dict(mapping)
    kind = check_choice("kind", arguments.pop("kind"), KINDS)
    for key in arguments:
        check_argument(f"the drift {kind!r}", key, catalogue.DRIFTS[kind].arguments)
    for argument in fields(KINDS[kind]):
        required = argument.init and argument.default is MISSING and argument.default_factory is MISSING
        if required and argument.name not in arguments:
            raise ValueError(f"the drift {kind!r} needs the argument {argument.name!r}, got {mapping!r}; give it")
    return KINDS[kind](**arguments)
