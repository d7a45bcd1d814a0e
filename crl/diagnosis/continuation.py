"""What came of going on with an ill agent for a while, as it was and with what was tried: plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

SEEDS = 3
"""Of games and actions, the same for all that are gone on with; too few for anything to be claimed."""
MOST = 3
"""Candidates that are gone on with."""


@dataclass(frozen=True)
class Continuation:
    """The games of an agent that went on, all of them with the same seeds.

    Attributes:
        candidate: its name and the arguments that are not the defaults; None for the agent as it was.
        returns: mean return of the episodes that ended, of each seed; nan where none did.
        episodes: how many, of each seed.
    """

    candidate: Mapping[str, Any] | None
    returns: Sequence[float]
    episodes: Sequence[int]

    @property
    def mean(self) -> float:
        """Over seeds; nan where one has none."""
        return fmean(self.returns)


@dataclass(frozen=True)
class Continued:
    """What was gone on with.

    Attributes:
        task: that was played.
        steps: of the games, each time.
        found: the agent as it was, and then candidates in the order of their trials.
    """

    task: str
    steps: int
    found: Sequence[Continuation]
