"""Where a curve has changed for good: not at all, at once, or little by little; and how sure that is.

The three are compared by an information criterion, with errors that remember the last one, because what looks like a
change is often memory: Beaulieu and Killick, "Distinguishing trends and shifts from memory in climate data" (Journal
of Climate 31, 2018). It is Schwarz's (BIC) as McQuarrie corrects it for few points, "A small-sample correction for the
Schwarz SIC model selection criterion" (Statistics & Probability Letters 44, 1999), and the place where a change begins
counts as two parameters, as Zhang and Siegmund show, "A modified Bayes information criterion with applications to the
analysis of comparative genomic hybridization data" (Biometrics 63, 2007). Simulated, errors of any memory up to 0.95
are taken for a change less than once in twenty times; see the tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Kind = Literal["none", "sudden", "gradual"]

FEWEST = 12
"""Points of which a change can be told from chance."""
MEMORIES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.95)
"""Shares of an error that may be left in the next one."""
COSTS: dict[Kind, int] = {"none": 2, "sudden": 5, "gradual": 6}
"""Parameters beside the levels: the errors' size and memory, and of a change its height, beginning (twice) and end."""
EDGE = 2  # points at least before and after a jump
SHORTEST = 3  # intervals between points that a gradual change takes at least
REPETITIONS = 499
EXACT = 1e-9  # share of all squares below which they are rounding


@dataclass(frozen=True)
class Change:
    """What a curve does.

    Attributes:
        kind: none, sudden (a jump between two points) or gradual (straight up or down over several).
        support: the probability of this kind, had each been as likely before: a Schwarz weight.
        begin: where the last point is that is as before; nan where nothing changes, as are all others.
        end: where the first point is that is as it stays.
        earliest: lower end of the 95% bootstrap interval of `begin`.
        latest: upper end of that of `begin` where the change is gradual, and of `end` where it is sudden, for the jump
            is somewhere between the two.
        before: height of the curve at the beginning, the mean over its points' groups.
        after: height at the end.
    """

    kind: Kind
    support: float
    begin: float = math.nan
    end: float = math.nan
    earliest: float = math.nan
    latest: float = math.nan
    before: float = math.nan
    after: float = math.nan


def change_of(
    x: Sequence[float] | Numbers,
    y: Sequence[float] | Numbers,
    *,
    rising: bool | None = None,
    groups: Sequence[int] | None = None,
    seed: int = 0,
) -> Change | None:
    """The one change for good that a curve shows most clearly, if it shows one.

    The curve is a level, plus a way that is flat up to a point, rises or falls straight up to another and stays, plus
    errors, each of which is a share of the last one and something new. All of it is fitted by least squares, for every
    pair of points and every share out of `MEMORIES`. The interval is by resampling what is new in the errors.

    Args:
        x: places of the points, rising.
        y: their heights, finite.
        rising: whether only changes upwards count, or only downwards; None for both.
        groups: of each point, such as the number of its task, which has a level of its own; None for one group.
        seed: of the resampling.

    Returns:
        None of fewer than `FEWEST` points, and one more for each group but the first.
    """
    places, heights = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    labels = np.zeros(len(places)) if groups is None else np.asarray(groups)
    levels = (labels[:, None] == np.unique(labels)).astype(float)
    if len(places) < FEWEST + levels.shape[1] - 1:
        return None
    ways: dict[Kind, _Ways] = {"none": _none(places), "sudden": _jumps(places), "gradual": _slopes(places)}
    curve = _Curve(heights, levels, rising)
    fits = {kind: curve.best(each) for kind, each in ways.items()}
    scores = {kind: fit.deviance + _cost(len(places), COSTS[kind] + levels.shape[1]) for kind, fit in fits.items()}
    kind = min(scores, key=lambda each: scores[each])
    support = 1 / sum(math.exp((scores[kind] - score) / 2) for score in scores.values())
    if kind == "none":
        return Change(kind, support)
    fit, found = fits[kind], ways[kind]
    again = curve.again(found, fit, np.random.default_rng(seed))
    lasts = found.ends if kind == "sudden" else found.begins
    earliest = np.quantile(found.begins[again], 0.025, method="lower")
    latest = np.quantile(lasts[again], 0.975, method="higher")
    ends = float(found.begins[fit.way]), float(found.ends[fit.way])
    return Change(kind, support, *ends, float(earliest), float(latest), *curve.heights(found, fit))


def _cost(points: int, parameters: int) -> float:
    return parameters * math.log(points) * points / (points - parameters - 2)


class _Ways(NamedTuple):
    """Ways from 0 to 1, (ways, points), and where each begins and ends."""

    heights: Numbers
    begins: Numbers
    ends: Numbers


def _none(x: Numbers) -> _Ways:
    return _Ways(np.zeros((1, len(x))), x[:1], x[:1])


def _jumps(x: Numbers) -> _Ways:
    last = np.arange(EDGE - 1, len(x) - EDGE)
    return _Ways((np.arange(len(x)) > last[:, None]).astype(float), x[last], x[last + 1])


def _slopes(x: Numbers) -> _Ways:
    first, last = np.triu_indices(len(x), SHORTEST)
    begins, ends = x[first], x[last]
    return _Ways(np.clip((x - begins[:, None]) / (ends - begins)[:, None], 0.0, 1.0), begins, ends)


class _Fit(NamedTuple):
    """The best of some ways, by its number.

    Attributes:
        way: its number.
        memory: share of an error that is left in the next one.
        deviance: -2 times the log likelihood, but for a constant.
    """

    way: int
    memory: float
    deviance: float


class _Curve:
    """A curve that ways are fitted to.

    Args:
        y: (points,).
        levels: 1 where a point is of a group: (points, groups).
        rising: see `change_of`.
    """

    def __init__(self, y: Numbers, levels: Numbers, rising: bool | None) -> None:
        self._y, self._levels, self._rising = y, levels, rising
        self._least = EXACT * float(np.square(y).sum()) or EXACT

    def best(self, ways: _Ways) -> _Fit:
        """Of all ways and memories."""
        fits, n = [], len(self._y)
        for memory in MEMORIES:
            own, errors = self._freed(ways.heights, memory), self._freed(self._y, memory)
            explained = self._explained(own, own @ errors)
            way = int(explained.argmax())
            left = max(float(errors @ errors - explained[way]), self._least)
            fits.append(_Fit(way, memory, n * math.log(left / n) - math.log(1 - memory**2)))  # exact, of AR(1)
        return min(fits, key=lambda fit: fit.deviance)

    def again(self, ways: _Ways, fit: _Fit, generator: np.random.Generator) -> NDArray[np.intp]:
        """The best way of each of `REPETITIONS` curves whose errors are resampled, the memory being as it is."""
        own, errors = self._freed(ways.heights, fit.memory), self._freed(self._y, fit.memory)
        mine = own[fit.way]
        fitted = mine * (mine @ errors) / (mine @ mine)
        n, spent = len(errors), self._levels.shape[1] + 1
        left = (errors - fitted) * math.sqrt(n / (n - spent))
        drawn = generator.choice(left, (n, REPETITIONS))
        found: NDArray[np.intp] = self._explained(own, own @ (fitted[:, None] + drawn)).argmax(0)
        return found

    def heights(self, ways: _Ways, fit: _Fit) -> tuple[float, float]:
        """Before and after a change."""
        terms = _new(np.vstack([self._levels.T, ways.heights[fit.way]]), fit.memory).T
        *levels, height = np.linalg.lstsq(terms, _new(self._y, fit.memory), rcond=None)[0]
        before = float(self._levels.mean(0) @ levels)
        return before, before + float(height)

    def _freed(self, values: Numbers, memory: float) -> Numbers:
        """What is new in values, (..., points), but for levels."""
        basis = np.linalg.qr(_new(self._levels.T, memory).T).Q
        new = _new(values, memory)
        freed: Numbers = new - (new @ basis) @ basis.T
        return freed

    def _explained(self, own: Numbers, products: Numbers) -> Numbers:
        """Squares that each way explains: (ways,), or (ways, curves) where there are as many products."""
        if self._rising is not None:
            products = products.clip(0, None) if self._rising else products.clip(None, 0)
        squares = np.square(own).sum(1).reshape(-1, *[1] * (products.ndim - 1))
        found: Numbers = np.where(squares > EXACT, np.square(products) / np.maximum(squares, EXACT), 0.0)
        return found


def _new(values: Numbers, memory: float) -> Numbers:
    """What is new in each value, (..., points), beside what is left of the one before (Prais and Winsten)."""
    new = values.copy()
    new[..., 1:] -= memory * values[..., :-1]
    new[..., 0] *= math.sqrt(1 - memory**2)
    return new
