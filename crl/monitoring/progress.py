"""What the terminal shows while a run trains."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import Any

import psutil
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from crl.every import Every
from crl.monitoring.tasks import TaskCallback
from crl.parts import Part
from crl.screen import is_terminal, say, tolerant
from crl.storage import State
from envs import Segment

LINES = 100
SPEED_OVER = 120.0  # seconds that the bar's speed is a mean of: several rollouts and updates
BAR_EVERY = 0.2  # seconds, of which rich keeps 1,000 times: at each step a speed would be that of a rollout's end


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
        self._began_at = 0  # the step at which this process goes on
        self._line = Every(math.ceil(tasks.stream.n_segments / LINES), multiples=True)  # counts segments
        self._bar = _bar() if is_terminal() else None
        self._shown = -math.inf  # when the bar was last moved

    def _on_training_start(self) -> None:
        self._started = time.perf_counter()
        self._began_at = self.learner.num_timesteps
        if self._bar is not None:
            self._bar.start()
            self._bar.add_task("", total=self._tasks.total_steps, completed=self._began_at, result="-")

    def _on_step(self) -> bool:
        segment = self._tasks.segment
        steps = min(self.num_timesteps, self._tasks.total_steps)
        result = self._tasks.mean_return()
        text = "-" if result is None else f"{result:.2f}"
        if self._bar is not None:
            now = self._bar.get_time()
            if now - self._shown < BAR_EVERY and steps < self._tasks.total_steps:
                return True
            self._shown = now
            description = f"visit {segment.index + 1:,} of {self._tasks.stream.n_segments:,}: {segment.task.name}"
            self._bar.update(self._bar.task_ids[0], completed=steps, description=description, result=text)
        elif steps - segment.start >= (segment.steps or 0):
            self._tell(segment, steps, text)
        return True

    def _tell(self, segment: Segment, steps: int, result: str) -> None:
        """Print the line of a visit that has ended, once; of many visits only of one in so many and the last."""
        ended, visits = segment.index + 1, self._tasks.stream.n_segments
        if self._line.is_due(ended) or self._line.last < ended == visits:
            self._line.done(ended)
            seconds = max(time.perf_counter() - self._started, 1e-3)  # some clocks are coarse
            speed = (steps - self._began_at) / seconds
            left = _pace(speed, (self._tasks.total_steps - steps) / speed)
            say(
                f"visit {ended:,} of {visits:,}: {segment.task.name}, return {result}, done at {steps:,} steps after "
                f"{_clock(seconds)}, {left}"
            )

    def state(self) -> State:
        """Which line was the last."""
        return self._line.state()

    def restore(self, state: Any) -> None:
        """Go on from what `state` gave."""
        self._line.restore(state)

    def report(self) -> dict[str, Any]:
        """What is told of the run to those who look at its folder; empty before training has begun."""
        if not self._started:
            return {}
        step = min(self.learner.num_timesteps, self._tasks.total_steps)
        return {
            "step": step,
            "task": self._tasks.segment.task.name,
            "speed": (step - self._began_at) / max(time.perf_counter() - self._started, 1e-3),
            "memory": psutil.Process().memory_info().rss,
        }

    def close(self) -> None:
        """Give the terminal back."""
        if self._bar is not None:
            with tolerant():  # there may be none any more
                self._bar.stop()


class _Pace(ProgressColumn):
    """Speed and time left."""

    def render(self, task: Task) -> Text:
        left = task.time_remaining
        return Text("" if task.speed is None or left is None else _pace(task.speed, left))


def _pace(speed: float, left: float) -> str:
    """Such as ``8,600 steps/s, 0:05:12 left``."""
    return f"{speed:,.0f} steps/s, {_clock(left)} left"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        TextColumn("{task.percentage:.0f}%"),
        TextColumn("return {task.fields[result]}"),
        _Pace(table_column=Column(no_wrap=True)),
        speed_estimate_period=SPEED_OVER,
        expand=True,
    )
