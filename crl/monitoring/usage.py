"""What a run takes: time and memory."""

from __future__ import annotations

import time
from typing import Any

from crl.monitoring.memory import peak_memory
from crl.parts import Part
from crl.results import PeakMemory
from crl.storage import State

LONGEST = 1e10  # seconds: three centuries


class UsagePart(Part):
    """What the run has taken in all of its processes together.

    Attributes:
        before: seconds of training in those before this one.
    """

    name = "usage"

    def __init__(self) -> None:
        super().__init__()
        self.before = 0.0
        self._started: float | None = None
        self._peaks: dict[str, int] = {}

    def _on_training_start(self) -> None:
        self._started = time.perf_counter()
        if self.before:  # SB3's own clock, for the rows of logs
            self.run.model.start_time = time.time_ns() - int(self.before * 1e9)

    def seconds(self) -> float:
        """From the beginning of training till now, without the time between a kill and resuming."""
        return self.before + (0.0 if self._started is None else time.perf_counter() - self._started)

    def peak_memory(self) -> PeakMemory:
        """The most bytes that the run has held, see `crl.monitoring.peak_memory`."""
        now = peak_memory(self.run.model.device)
        return PeakMemory(**{kind: max(now.get(kind, 0), self._peaks.get(kind, 0)) for kind in {**self._peaks, **now}})

    def state(self) -> State:
        """Seconds of training, and the most bytes held, in all processes till now."""
        return {"seconds": self.seconds(), "peak_memory": self.peak_memory().model_dump(exclude_none=True)}

    def restore(self, state: Any) -> None:
        """Count on from what `state` gave."""
        seconds = state["seconds"]
        if type(seconds) not in (int, float) or not 0 <= seconds < LONGEST:
            raise ValueError(f"it is of {seconds!r} seconds")
        self.before = float(seconds)
        self._peaks = PeakMemory(**state["peak_memory"]).model_dump(exclude_none=True)
