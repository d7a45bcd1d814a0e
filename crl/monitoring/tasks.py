"""Which task is played, and the returns in it."""

from __future__ import annotations

import re
from collections import deque
from statistics import fmean
from typing import Any

import numpy as np

from crl.parts import Part
from crl.results import NOTHING, Over, Result, Visit
from crl.storage import State
from envs import TaskStream

WINDOW = 100  # episodes that the running means are over
LATE = 0.1  # share of a visit, at its end, whose episodes are its result


def tag_of(task: str) -> str:
    """A task's name as part of a tag: SB3's CSV writer does not quote its header."""
    return re.sub(r'[,"\s]+', ";", task)


class TaskCallback(Part):
    """Collects the returns of every visit, and records ``task/*``. Only steps inside the stream count.

    Args:
        stream: what is played, in the lengths in which it is played.
    """

    name = "tasks"

    def __init__(self, stream: TaskStream) -> None:
        super().__init__()
        assert stream.total_steps is not None
        self.stream = stream
        self.total_steps: int = stream.total_steps
        self.segment = stream.segment(0)
        self.returns: deque[float] = deque(maxlen=WINDOW)
        self.lengths: deque[int] = deque(maxlen=WINDOW)
        self.late_returns: list[float] = []
        """Returns of the episodes that ended in the last tenth of the segment."""
        self.ended: dict[int, Result] = {}
        """Index of each segment that has ended -> its result."""

    def _on_step(self) -> bool:
        infos: list[dict[str, Any]] = self.locals["infos"]
        index = self.segment_index()
        if index != self.segment.index:
            self.ended[self.segment.index] = self._result()
            self.segment = self.stream.segment(index)
            self.late_returns.clear()
            self.returns.clear()
            self.lengths.clear()
        if self.num_timesteps <= self.total_steps:
            for game in np.flatnonzero(self.locals["dones"]).tolist():
                if "episode" in infos[game]:
                    self._count(infos[game]["episode"])
        return True

    def segment_index(self) -> int:
        """Which segment the step that was just made was in."""
        index: int = self.locals["infos"][0]["segment"]
        return index

    def _count(self, episode: dict[str, Any]) -> None:
        self.returns.append(float(episode["r"]))
        self.lengths.append(int(episode["l"]))
        assert self.segment.steps is not None
        if self.num_timesteps - self.segment.start > (1 - LATE) * self.segment.steps:
            self.late_returns.append(float(episode["r"]))

    def record(self) -> None:
        """Put the current task and the returns in it into the row of logs."""
        self.logger.record("task/index", self.segment.task_index)
        self.logger.record("task/segment", self.segment.index)
        if self.returns:
            prefix = f"task/{tag_of(self.segment.task.family)}"
            self.logger.record(f"{prefix}/ep_rew_mean", fmean(self.returns), exclude="stdout")
            self.logger.record(f"{prefix}/ep_len_mean", fmean(self.lengths), exclude="stdout")

    def state(self) -> State:
        """All that it has counted, as JSON values."""
        return {
            "segment": self.segment.index,
            "returns": list(self.returns),
            "lengths": list(self.lengths),
            "late_returns": list(self.late_returns),
            "ended": {str(index): result.model_dump() for index, result in self.ended.items()},
        }

    def restore(self, state: Any) -> None:
        """Go on from what `state` gave."""
        self.segment = self.stream.segment(state["segment"])
        self.returns = deque(map(float, state["returns"]), maxlen=WINDOW)
        self.lengths = deque(map(int, state["lengths"]), maxlen=WINDOW)
        self.late_returns = list(map(float, state["late_returns"]))
        ended = {int(index): Result(**result) for index, result in state["ended"].items()}
        self.ended = {self.stream.segment(index).index: result for index, result in ended.items()}

    def mean_return(self) -> float | None:
        """Over the window; None before the first episode of the visit has ended."""
        return fmean(self.returns) if self.returns else None

    def visits(self) -> tuple[Visit, ...]:
        """One for each segment."""
        results = {**self.ended, self.segment.index: self._result()}
        return tuple(self._visit(index, results.get(index, NOTHING)) for index in range(self.stream.n_segments))

    def _visit(self, index: int, result: Result) -> Visit:
        segment = self.stream.segment(index)
        assert segment.steps is not None
        return Visit(
            task=segment.task.name,
            family=segment.task.family,
            visit=segment.visit,
            segment=index,
            start=segment.start,
            steps=segment.steps,
            **result.model_dump(),
        )

    def _result(self) -> Result:
        """What this visit has come to."""
        returns = self.late_returns or self.returns
        if not returns:
            return NOTHING
        over: Over = "last tenth" if self.late_returns else "last episodes"
        return Result(mean_return=fmean(returns), episodes=len(returns), over=over)
