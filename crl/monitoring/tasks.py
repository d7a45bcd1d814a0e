"""Which task is played, and the returns in it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from statistics import fmean
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from envs import TaskStream

WINDOW = 100  # episodes that the running means are over
LATE = 0.1  # share of a visit, at its end, whose episodes are its result
NOTHING = {"mean_return": None, "episodes": 0, "over": "last episodes"}  # the result where no episode has ended


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
        self.late_returns: list[float] = []
        """Returns of the episodes that ended in the last tenth of the segment."""
        self.ended: dict[int, dict[str, Any]] = {}
        """Index of each segment that has ended -> its result."""

    def _on_step(self) -> bool:
        infos: list[dict[str, Any]] = self.locals["infos"]
        if infos[0]["segment"] != self.segment.index:
            self.ended[self.segment.index] = self._result()
            self.segment = self.stream.segment(infos[0]["segment"])
            self.late_returns.clear()
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
            self.late_returns.append(float(episode["r"]))

    def record(self) -> None:
        """Put the current task and the returns in it into the row of logs."""
        self.logger.record("task/index", self.segment.task_index)
        self.logger.record("task/segment", self.segment.index)
        if self.returns:
            prefix = f"task/{tag_of(self.segment.task.family)}"
            self.logger.record(f"{prefix}/ep_rew_mean", fmean(self.returns), exclude="stdout")
            self.logger.record(f"{prefix}/ep_len_mean", fmean(self.lengths), exclude="stdout")

    def state(self) -> dict[str, Any]:
        """All that it has counted, as JSON values."""
        return {
            "segment": self.segment.index,
            "returns": list(self.returns),
            "lengths": list(self.lengths),
            "late_returns": list(self.late_returns),
            "ended": {str(index): result for index, result in self.ended.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.segment = self.stream.segment(state["segment"])
        self.returns = deque(map(float, state["returns"]), maxlen=WINDOW)
        self.lengths = deque(map(int, state["lengths"]), maxlen=WINDOW)
        self.late_returns = list(map(float, state["late_returns"]))
        self.ended = {int(index): _restored(**result) for index, result in state["ended"].items()}

    def mean_return(self) -> float | None:
        """Over the window; None before the first episode of the visit has ended."""
        return fmean(self.returns) if self.returns else None

    def visits(self) -> list[dict[str, Any]]:
        """One entry per segment: its place in the stream, and its mean return.

        The mean is over the episodes that ended in its last tenth or, where none did, over its last ones.
        """
        results = {**self.ended, self.segment.index: self._result()}
        entries = []
        for index in range(self.stream.n_segments):
            segment = self.stream.segment(index)
            place = {
                "task": segment.task.name,
                "family": segment.task.family,
                "visit": segment.visit,
                "segment": index,
                "start": segment.start,
                "steps": segment.steps,
            }
            entries.append(place | results.get(index, NOTHING))
        return entries

    def _result(self) -> dict[str, Any]:
        """What this visit has come to."""
        returns = self.late_returns or self.returns
        if not returns:
            return NOTHING
        over = "last tenth" if self.late_returns else "last episodes"
        return {"mean_return": fmean(returns), "episodes": len(returns), "over": over}


def _restored(mean_return: float | None, episodes: int, over: str | None) -> dict[str, Any]:
    """The result of a visit, as `TaskCallback.visits` shows it."""
    mean = None if mean_return is None else float(mean_return)
    return {"mean_return": mean, "episodes": int(episodes), "over": None if over is None else str(over)}
