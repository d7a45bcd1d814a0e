"""Which task is played, and the returns in it."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Mapping
from statistics import fmean
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from envs import TaskStream

WINDOW = 100  # episodes that the running means are over
LATE = 0.1  # share of a visit, at its end, whose episodes are its result


def tag_of(task: str) -> str:
    """A task's name as part of a tag: SB3's CSV writer does not quote its header."""
    return re.sub(r'[,"\s]+', ";", task)


class TaskCallback(BaseCallback):
    """Collects the returns of every visit, and records ``task/*``. Only steps inside the stream count.

    Args:
        stream: what is played, in the lengths in which it is played.
    """

    def __init__(self, stream: TaskStream) -> None:
        super().__init__()
        assert stream.total_steps is not None
        self.stream = stream
        self.total_steps: int = stream.total_steps
        self.segment = stream.segment(0)
        self.returns: deque[float] = deque(maxlen=WINDOW)
        self.lengths: deque[int] = deque(maxlen=WINDOW)
        self.late_returns: dict[int, list[float]] = defaultdict(list)
        """Segment's index -> returns of the episodes that ended in its last tenth."""
        self.last_returns: dict[int, list[float]] = {}
        """Segment's index -> returns of its last episodes, at most `WINDOW`; of segments that have ended."""

    def _on_step(self) -> bool:
        infos: list[dict[str, Any]] = self.locals["infos"]
        if infos[0]["segment"] != self.segment.index:
            self.last_returns[self.segment.index] = list(self.returns)
            self.segment = self.stream.segment(infos[0]["segment"])
            self.returns.clear()
            self.lengths.clear()
        if self.num_timesteps <= self.total_steps:
            for game in np.flatnonzero(self.locals["dones"]).tolist():
                if "episode" in infos[game]:
                    self._count(infos[game]["episode"])
        return True

    def _count(self, episode: dict[str, Any]) -> None:
        self.returns.append(float(episode["r"]))
        self.lengths.append(int(episode["l"]))
        assert self.segment.steps is not None
        if self.num_timesteps - self.segment.start > (1 - LATE) * self.segment.steps:
            self.late_returns[self.segment.index].append(float(episode["r"]))

    def record(self) -> None:
        """Put the current task and the returns in it into the row of logs."""
        self.logger.record("task/index", self.segment.task_index)
        self.logger.record("task/segment", self.segment.index)
        if self.returns:
            prefix = f"task/{tag_of(self.segment.task.name)}"
            self.logger.record(f"{prefix}/ep_rew_mean", fmean(self.returns), exclude="stdout")
            self.logger.record(f"{prefix}/ep_len_mean", fmean(self.lengths), exclude="stdout")

    def state(self) -> dict[str, Any]:
        """All that it has counted, as JSON values."""
        return {
            "segment": self.segment.index,
            "returns": list(self.returns),
            "lengths": list(self.lengths),
            "late_returns": {str(index): list(found) for index, found in self.late_returns.items()},
            "last_returns": {str(index): list(found) for index, found in self.last_returns.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.segment = self.stream.segment(state["segment"])
        self.returns = deque(state["returns"], maxlen=WINDOW)
        self.lengths = deque(state["lengths"], maxlen=WINDOW)
        late = {int(index): list(found) for index, found in state["late_returns"].items()}
        self.late_returns = defaultdict(list, late)
        self.last_returns = {int(index): list(found) for index, found in state["last_returns"].items()}

    def mean_return(self) -> float | None:
        """Over the window; None before the first episode of the visit has ended."""
        return fmean(self.returns) if self.returns else None

    def visits(self) -> list[dict[str, Any]]:
        """One entry per segment: its place in the stream, and its mean return.

        The mean is over the episodes that ended in its last tenth or, where none did, over its last ones.
        """
        entries = []
        ended = {**self.last_returns, self.segment.index: list(self.returns)}
        for index in range(self.stream.n_segments):
            segment, late = self.stream.segment(index), self.late_returns.get(index, [])
            returns = late or ended.get(index, [])
            entries.append(
                {
                    "task": segment.task.name,
                    "visit": segment.visit,
                    "segment": index,
                    "start": segment.start,
                    "steps": segment.steps,
                    "mean_return": fmean(returns) if returns else None,
                    "episodes": len(returns),
                    "over": "last tenth" if late else "last episodes",
                }
            )
        return entries
