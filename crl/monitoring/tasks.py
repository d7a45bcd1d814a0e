"""Which task is played, and the returns in it."""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Mapping
from statistics import fmean
from typing import Any

import numpy as np
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat

from crl.mirroring.mirror import Mirror
from crl.parts import Part
from crl.results import NOTHING, Over, Result, Visit
from crl.storage import State
from envs import TaskStream

# TensorBoard sorts its groups by their names, capitals first: returns are what it opens with.
RETURN = "Return"
RETURN_BY_VISIT = "Return_by_visit"
OF_ALL = f"{RETURN_BY_VISIT}/all_tasks"  # a name that tasks do not have by themselves
LENGTH = "episode_length"
EVALUATED_RETURN, EVALUATED_LENGTH = "eval/{}/mean_reward", "eval/{}/mean_ep_length"  # as of SB3's `EvalCallback`
WINDOW = 100  # episodes that the running means are over
BRACKETS = str.maketrans("()", "[]")
LATE = 0.1  # share of a visit, at its end, whose episodes are its result


def tag_of(task: str) -> str:
    """A task's name as part of a tag: SB3's CSV writer does not quote its header.

    And TensorBoard's Custom Scalars draw no line of a tag with parentheses (2.21).
    """
    return re.sub(r'[,"\s]+', ";", task).translate(BRACKETS)


def draw(logger: Logger, tag: str, value: float, step: int) -> None:
    """Give TensorBoard, and what mirrors it, a value at a step of its own."""
    for output in logger.output_formats:
        if isinstance(output, TensorBoardOutputFormat):
            output.writer.add_scalar(tag, value, step)
        elif isinstance(output, Mirror):
            output.draw(tag, value, step)


class TaskCallback(Part):
    """Collects the returns of every visit, and records them with the place in the stream. Only steps inside it count.

    TensorBoard gets two things more: a point that is no number where a task comes again, which breaks its curves there,
    and ``Return_by_visit/*``, whose step is the number of the visit: among a task's own and, as ``all_tasks`` where
    there are several, among those of all.

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
        self._visits: Counter[str] = Counter()  # that have ended, of each family
        self._several = len({task.family for task in stream.tasks}) > 1

    def _on_step(self) -> bool:
        infos: list[dict[str, Any]] = self.locals["infos"]
        index = self.segment_index()
        if index != self.segment.index:
            self._end_visit()
            left, self.segment = self.segment, self.stream.segment(index)
            family = self.segment.task.family
            if family != left.task.family and self._visits[family]:
                self._draw({RETURN: math.nan, LENGTH: math.nan}, self.segment.start)
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

    def _on_training_end(self) -> None:
        # A run that is gone on with at its end has told of its last visit.
        if self.learner.num_timesteps >= self.total_steps and self.segment.index not in self.ended:
            self._end_visit()

    def _end_visit(self) -> None:
        """Keep the result of the visit, and draw it over the number of the visit."""
        result, family = self._result(), self.segment.task.family
        self.ended[self.segment.index] = result
        self._visits[family] += 1
        if result.mean_return is not None:
            self._draw({RETURN_BY_VISIT: result.mean_return}, self._visits[family])
            if self._several:
                draw(self.logger, OF_ALL, result.mean_return, self.segment.index + 1)

    def _draw(self, values: Mapping[str, float], step: int) -> None:
        """Give TensorBoard alone values of the current task: what they are of -> value."""
        for kind, value in values.items():
            draw(self.logger, self._tag(kind), value, step)

    def _tag(self, kind: str) -> str:
        return f"{kind}/{tag_of(self.segment.task.family)}"

    def record(self) -> None:
        """Put the current task and the returns in it into the row of logs."""
        self.logger.record("task/index", self.segment.task_index)
        self.logger.record("task/segment", self.segment.index)
        if self.returns:
            self.logger.record(self._tag(RETURN), fmean(self.returns), exclude="stdout")
            self.logger.record(self._tag(LENGTH), fmean(self.lengths), exclude="stdout")

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
        self._visits = Counter(self.stream.segment(index).task.family for index in self.ended)

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
