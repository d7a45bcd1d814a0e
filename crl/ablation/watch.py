"""Whose turn it is in a process that trains several runs, told to those who wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

LONG = 300.0  # seconds of one turn from which those who wait are told
TURN_OF, TURN = "turn_of", "turn"
"""What a run's process tells of a turn that lasts: the name of the run that has it, and its seconds."""


class Watch:
    """Whose turn it is, for those who wait: a run that hangs, as in a step of its environment, holds all others.

    Args:
        clock: in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._now: tuple[str, float] | None = None

    def begin(self, name: str) -> None:
        """The run of that name has its turn."""
        self._now = name, self._clock()

    def end(self) -> None:
        """Nobody has."""
        self._now = None

    def told(self) -> dict[str, Any]:
        """Whose turn has lasted long, and for how many seconds; empty where none has. Other threads may ask."""
        now = self._now
        if now is None or (lasted := self._clock() - now[1]) < LONG:
            return {}
        return {TURN_OF: now[0], TURN: lasted}
