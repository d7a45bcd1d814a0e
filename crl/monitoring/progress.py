"""What the terminal shows while a run trains."""

from __future__ import annotations

import math
import time
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from crl.every import Every
from crl.monitoring.tasks import TaskCallback
from crl.parts import Part
from crl.screen import is_terminal, say
from crl.storage import State
from envs import Segment

LINES = 100


class ProgressCallback(Part):
    """A bar over the whole stream, or a line per segment, about `LINES` at most, where the output is no terminal.

    Args:
        tasks: which knows the current task and its returns; it stands before this in the list of parts.
    """

    name = "progress"

    def __init__(self, tasks: TaskCallback) -> None:
        super().__init__()
        self._tasks = tasks
        self._started = 0.0
        self._line = Every(math.ceil(tasks.stream.n_segments / LINES), multiples=True)  # counts segments
        self._bar = _bar() if is_terminal() else None

    def _on_training_start(self) -> None:
        self._started = time.perf_counter()
        if self._bar is not None:
            self._bar.start()
            self._bar.add_task("", total=self._tasks.total_steps, result="-")

    def _on_step(self) -> bool:
        segment = self._tasks.segment
        steps = min(self.num_timesteps, self._tasks.total_steps)
        result = self._tasks.mean_return()
        text = "-" if result is None else f"{result:.2f}"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=steps, description=segment.task.name, result=text)
        elif steps - segment.start >= (segment.steps or 0):
            self._tell(segment, steps, text)
        return True

    def _tell(self, segment: Segment, steps: int, result: str) -> None:
        """Print the line of a segment that has ended, once; of many segments only of one in so many and the last."""
        ended, n_segments = segment.index + 1, self._tasks.stream.n_segments
        if self._line.is_due(ended) or self._line.last < ended == n_segments:
            self._line.done(ended)
            seconds = time.perf_counter() - self._started
            place = f"segment {ended}/{n_segments} {segment.task.name}"
            say(f"{place}: done at {steps:,} steps, return {result}, {seconds:.0f} s")

    def state(self) -> State:
        """Which line was the last."""
        return self._line.state()

    def restore(self, state: Any) -> None:
        """Go on from what `state` gave."""
        self._line.restore(state)

    def close(self) -> None:
        """Give the terminal back."""
        if self._bar is not None:
            self._bar.stop()


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps"),
        TextColumn("return {task.fields[result]}"),
        TimeRemainingColumn(),
    )
