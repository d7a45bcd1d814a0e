"""Which task comes when: pure data, no environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.checks import check_choice, check_int

if TYPE_CHECKING:
    from envs.task import Task

ORDERS = ("sequence", "shuffle", "random")
LENGTHS = ("fixed", "poisson", "geometric")

_SHOWN = 6  # segments spelt out by repr
_LONGEST = 2**60  # steps of a stream; drawn and rounded lengths are longer, and 64 bits have to hold them


@dataclass(frozen=True)
class Segment:
    """One visit of a task.

    Args:
        index: position in the stream, from 0.
        task: the task visited.
        task_index: position of the task in ``TaskStream.tasks``.
        start: steps of the stream before this segment.
        steps: length in steps (transitions of one game), None without end.
        visit: which visit of this task it is, from 1.
    """

    index: int
    task: Task
    task_index: int
    start: int
    steps: int | None
    visit: int


class TaskStream:
    """An ordered list of segments, each a task and a number of steps; deterministic and never changed once made.

    Args:
        segments: pairs (task, steps). Steps are at least 1; None, without end, only where it is the single segment.

    Raises:
        ValueError: there is no segment, a number of steps is out of range, or two different tasks share a name.

    >>> from envs.entries import task_from
    >>> TaskStream.build([task_from("breakout"), task_from("asterix")], steps_per_task=1000, cycles=2)
    TaskStream(breakout 1,000 -> asterix 1,000 -> breakout 1,000 -> asterix 1,000; 4 segments, 4,000 steps)
    """

    __slots__ = ("_ends", "_order", "_tasks", "_visits")

    _ends: NDArray[np.int64] | None

    def __init__(self, segments: Sequence[tuple[Task, int | None]]) -> None:
        listed = [task for task, _ in segments]
        self._place(listed, np.arange(len(listed)), [steps for _, steps in segments], "segments")

    @classmethod
    def build(
        cls,
        tasks: Sequence[Task],
        *,
        steps_per_task: int | Sequence[int | None] | None,
        cycles: int = 1,
        order: str = "sequence",
        lengths: str = "fixed",
        seed: int = 0,
    ) -> TaskStream:
        """Segments made from a list of tasks.

        Args:
            tasks: the tasks, each as often as it shall come in one cycle.
            steps_per_task: steps of every segment, or of the segments of each of ``tasks``; None, without end, only
                where one segment is all there is.
            cycles: how often the list is gone through.
            order: "sequence" visits the tasks as listed, "shuffle" in a new permutation each cycle, and "random"
                draws each of the len(tasks) x cycles segments independently.
            lengths: "fixed" gives every segment just these steps; "poisson" draws each segment's steps from a Poisson
                distribution with that mean, and "geometric" from a geometric one, as where the task changes with the
                same probability in every step. A segment has at least one step.
            seed: decides the order and, independently, the lengths; at least 0.

        Raises:
            ValueError: an argument is out of range or two different tasks share a name.
        """
        cycles = check_int("cycles", cycles, 1, "give the number of times that the tasks are gone through")
        seed = check_int("seed", seed, 0, "give a number such as 0")
        check_choice("order", order, ORDERS)
        check_choice("lengths", lengths, LENGTHS)
        n_listed = len(tasks)
        picks = np.tile(np.arange(n_listed), (cycles, 1))
        if order == "shuffle":
            picks = np.random.default_rng(seed).permuted(picks, axis=1)
        elif order == "random" and n_listed:
            picks = np.random.default_rng(seed).integers(n_listed, size=picks.shape)
        stream = cls.__new__(cls)
        stream._place(tasks, picks.ravel(), _for_each(steps_per_task, n_listed), "steps_per_task")
        if lengths != "fixed":
            stream._draw_lengths(lengths, seed)
        return stream

    def _place(self, listed: Sequence[Task], picks: NDArray[np.int64], steps: Sequence[int | None], key: str) -> None:
        """Store segments that visit ``listed[pick]`` for ``steps[pick]`` steps."""
        if not len(picks):
            raise ValueError("tasks must name at least one task, got none; add a game or a Gymnasium id")
        distinct = {task.name: task for task in reversed(listed)}
        for task in listed:
            if task != distinct[task.name]:
                raise ValueError(f"two different tasks are named {task.name!r}; give each its own name")
        for task in distinct.values():
            if task.variant_of in distinct:
                raise ValueError(
                    f"a task and the variants of another are both named {task.variant_of!r}; give each its own name"
                )
        self._tasks = tuple({task.name: task for task in listed}.values())
        places = {task.name: place for place, task in enumerate(self._tasks)}
        self._order = np.array([places[task.name] for task in listed])[picks]
        self._visits = _counted(self._order)
        if len(picks) == 1 and steps[0] is None:
            self._ends = None
            return
        remedy = "give the steps that each segment lasts (only a single segment may go on without end)"
        lengths = [check_int(key, value, 1, remedy) for value in steps]
        if max(lengths) * len(picks) > _LONGEST:
            raise ValueError(
                f"{key} of up to {max(lengths):,} in {len(picks):,} segments are too many; give fewer steps"
            )
        self._ends = np.cumsum(np.array(lengths)[picks])

    def _draw_lengths(self, lengths: str, seed: int) -> None:
        """Replace the segments' steps by draws with these means."""
        if self._ends is None:
            raise ValueError(f"lengths={lengths!r} needs a mean number of steps; give steps_per_task")
        # The key keeps these draws apart from those of the order.
        generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,)))
        means = np.diff(self._ends, prepend=0)
        drawn = generator.poisson(means) if lengths == "poisson" else generator.geometric(1 / means)
        self._ends = np.cumsum(np.maximum(drawn, 1))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The distinct tasks, in the order in which they were first listed."""
        return self._tasks

    @property
    def n_segments(self) -> int:
        """Number of segments."""
        return len(self._order)

    @property
    def total_steps(self) -> int | None:
        """Steps of all segments together, None without end."""
        return None if self._ends is None else int(self._ends[-1])

    @property
    def shortest(self) -> int | None:
        """Steps of the shortest segment, None without end."""
        return None if self._ends is None else int(np.diff(self._ends, prepend=0).min())

    def segment(self, index: int) -> Segment:
        """Segment number ``index``, from 0.

        Raises:
            IndexError: there is no such segment.
        """
        if not 0 <= index < self.n_segments:
            raise IndexError(f"segment {index} does not exist; the stream has segments 0 to {self.n_segments - 1}")
        place = int(self._order[index])
        start = 0 if index == 0 or self._ends is None else int(self._ends[index - 1])
        steps = None if self._ends is None else int(self._ends[index]) - start
        return Segment(index, self._tasks[place], place, start, steps, int(self._visits[index]))

    def at(self, step: int) -> int:
        """Index of the segment that the transition after ``step`` transitions belongs to; the last one after the end.

        Raises:
            ValueError: ``step`` is negative or not a whole number.
        """
        step = check_int("step", step, 0, "steps of a stream are counted from 0")
        if self._ends is None:
            return 0
        return min(int(np.searchsorted(self._ends, step, side="right")), self.n_segments - 1)

    def rounded(self, quantum: int) -> TaskStream:
        """This stream with the steps of every segment rounded up to a multiple of ``quantum``.

        Raises:
            ValueError: ``quantum`` is not a whole number of at least 1.
        """
        quantum = check_int("quantum", quantum, 1, "give a number of steps")
        stream = TaskStream.__new__(TaskStream)
        stream._tasks, stream._order, stream._visits = self._tasks, self._order, self._visits
        stream._ends = (
            None if self._ends is None else np.cumsum(-(-np.diff(self._ends, prepend=0) // quantum) * quantum)
        )
        return stream

    def replaced(self, tasks: Sequence[Task]) -> TaskStream:
        """This stream with other tasks, one for each of ``tasks`` in their order and of the same name."""
        stream = TaskStream.__new__(TaskStream)
        stream._tasks, stream._order = tuple(tasks), self._order
        stream._visits, stream._ends = self._visits, self._ends
        return stream

    def __repr__(self) -> str:
        total = self.total_steps
        if total is None:
            return f"TaskStream({self._tasks[0].name} without end)"
        shown = [self.segment(index) for index in range(min(self.n_segments, _SHOWN))]
        names = [f"{segment.task.name} {segment.steps:,}" for segment in shown]
        more = ["..."] if self.n_segments > _SHOWN else []
        plural = "s" if self.n_segments > 1 else ""
        return f"TaskStream({' -> '.join(names + more)}; {self.n_segments:,} segment{plural}, {total:,} steps)"


def _for_each(steps: int | Sequence[int | None] | None, n_tasks: int) -> Sequence[int | None]:
    """Steps for each of the tasks, from a number for all of them or a sequence of one for each."""
    if not isinstance(steps, list | tuple):
        return [steps] * n_tasks  # type: ignore[list-item]  # what is no number is refused with all others
    if len(steps) != n_tasks:
        raise ValueError(
            f"steps_per_task has {len(steps)} numbers for {n_tasks} tasks; give one for all of them, or one for each"
        )
    return steps


def _counted(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each entry has come by then, itself included."""
    visits = np.empty_like(order)
    by_task = np.argsort(order, kind="stable")
    found = order[by_task]
    first = np.flatnonzero(np.diff(found, prepend=-1))  # of each task's visits
    visits[by_task] = np.arange(1, len(order) + 1) - np.repeat(first, np.diff(first, append=len(order)))
    return visits
