"""Curves of long runs with as many points as a page can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crl.plot.reading import Curves, Numbers


def thinned(runs: Sequence[Curves], points: int) -> list[Curves]:
    """The runs with about so many rows at most, besides one for each visit; those of short runs are left as they are.

    Rows of a visit that follow one another become one, which has the last one's step, the means of what they measured
    and the units reset up to it. It is as many rows in all runs, so that the seeds of a method keep steps in common.

    Args:
        runs: beside one another.
        points: rows of the longest.
    """
    together = -(-max((len(run.steps) for run in runs), default=0) // points)
    return [_thinned(run, together) for run in runs] if together > 1 else list(runs)


def bounded(run: Curves, most: int) -> Curves:
    """A run with about so many rows at most, besides one for each visit.

    As `thinned`, for runs that are read one after the other: 2, 4, 8, ... rows become one, so that runs of other
    lengths keep steps in common with it.

    Args:
        run: any.
        most: rows.
    """
    together = 1
    while len(run.steps) > most * together:
        together *= 2
    return _thinned(run, together) if together > 1 else run


def _thinned(run: Curves, together: int) -> Curves:
    begins = np.flatnonzero(np.diff(run.segments, prepend=np.nan))  # of visits
    places = np.arange(len(run.steps)) - np.repeat(begins, np.diff(begins, append=len(run.steps)))
    firsts = np.flatnonzero(places % together == 0)
    lasts = np.append(firsts[1:], len(run.steps)) - 1
    tasks = [next((task for task in run.tasks[a : b + 1] if task), "") for a, b in zip(firsts, lasts, strict=True)]
    return replace(
        run,
        steps=run.steps[lasts],
        segments=run.segments[lasts],
        tasks=np.array(tasks, dtype=str),
        returns=_means(run.returns, firsts),
        resets={network: counts[lasts] for network, counts in run.resets.items()},
        plasticity={name: _means(values, firsts) for name, values in run.plasticity.items()},
    )


def _means(values: Numbers, firsts: np.ndarray) -> Numbers:
    """Mean of what is known from each first row up to the next one, nan where nothing is."""
    known = ~np.isnan(values)
    counts = np.add.reduceat(known.astype(float), firsts)
    sums = np.add.reduceat(np.where(known, values, 0.0), firsts)
    found: Numbers = np.divide(sums, counts, out=np.full(len(firsts), np.nan), where=counts > 0)
    return found
