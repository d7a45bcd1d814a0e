"""When evaluations are due, and how often that may be: pure data, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from envs import Segment, TaskStream


@dataclass(frozen=True)
class Schedule:
    """The steps of a stream at which its tasks are evaluated: dense where a visit begins, sparse later, and at its end.

    Args:
        stream: in the lengths in which it is played.
        every: steps of a visit between two evaluations.
        dense: how many more there are in the first `every` steps of a visit, at ``every / 2``, ``every / 4``, ...
        visits: one in so many visits is evaluated at its end; 1 for all. The last one always is.

    >>> from envs.entries import task_from
    >>> stream = TaskStream.build([task_from("breakout")], steps_per_task=1000, cycles=2)
    >>> schedule, steps = Schedule(stream, every=400, dense=2), [0]
    >>> while steps[-1] < 2000:
    ...     steps.append(schedule.after(steps[-1]))
    >>> steps
    [0, 100, 200, 400, 800, 1000, 1100, 1200, 1400, 1800, 2000]
    """

    stream: TaskStream = field(repr=False)
    every: int
    dense: int
    visits: int = 1
    lengths: Mapping[int, int] = field(default_factory=dict, repr=False, compare=False)
    """Steps of a visit -> how many visits are as long; counted where it is left out."""

    def __post_init__(self) -> None:
        if not self.lengths:
            segments = map(self.stream.segment, range(self.stream.n_segments))
            object.__setattr__(self, "lengths", Counter(map(_length, segments)))

    def after(self, step: int) -> int:
        """The first step behind `step` at which an evaluation is due; the stream's last where there is none."""
        for index in range(self.stream.at(step), self.stream.n_segments):
            segment = self.stream.segment(index)
            due = self._in_visit(segment, max(step - segment.start, 0))
            if due is not None:
                return segment.start + due
        return segment.start + _length(segment)

    def _in_visit(self, segment: Segment, passed: int) -> int | None:
        """How long after the visit began the first one behind `passed` steps is due; None if none is."""
        steps = _length(segment)
        found = min(due for due in (*self._halves, (passed // self.every + 1) * self.every) if due > passed)
        if found < steps:
            return found
        return steps if passed < steps and self._ends(segment.index) else None

    @cached_property
    def _halves(self) -> tuple[int, ...]:
        """After how many steps of a visit evaluations are due before `every`."""
        return tuple(sorted({self.every >> k for k in range(1, self.dense + 1)} - {0}))

    def _ends(self, index: int) -> bool:
        """Whether a visit is evaluated at its end."""
        return (index + 1) % self.visits == 0 or index == self.stream.n_segments - 1

    @property
    def count(self) -> int:
        """How many evaluations there are after the one at step 0."""
        within = sum(visits * self._count_within(steps) for steps, visits in self.lengths.items())
        return within + -(-self.stream.n_segments // self.visits)

    def _count_within(self, steps: int) -> int:
        """How many there are between beginning and end of a visit."""
        return sum(due < steps for due in self._halves) + (steps - 1) // self.every

    @property
    def rule(self) -> str:
        """When evaluations are made, in words."""
        if self._count_within(max(self.lengths)):
            return f"every {self.every:,} steps of a visit and at its end"
        if self.visits == 1:
            return "at the ends of visits alone"
        return "at the end alone" if self.count == 1 else f"at the end of one visit in {self.visits:,} alone"

    def widened(self, most: float) -> Schedule:
        """A schedule of at most so many evaluations: of twice the interval, or four times, ...

        Where that is longer than all visits, one in two visits is evaluated at its end, or one in four, ...; of the
        sparsest schedule only the end of the stream is left, whatever `most` is.
        """
        found, longest = self, max(self.lengths)
        while found.count > most and found.count > 1:
            if found._count_within(longest):
                found = replace(found, every=2 * found.every)
            else:
                found = replace(found, visits=2 * found.visits)
        return found


def _length(segment: Segment) -> int:
    assert segment.steps is not None
    return segment.steps
