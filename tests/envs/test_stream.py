"""Which task when."""

import time
from collections import Counter

import numpy as np
import pytest

from envs.entries import task_from
from envs.stream import Segment, TaskStream
from envs.task import Task

A, B, C = (Task(name, object) for name in "abc")  # type: ignore[arg-type]


def _names(stream: TaskStream) -> str:
    return "".join(stream.segment(index).task.name for index in range(stream.n_segments))


def test_sequence() -> None:
    stream = TaskStream.build([A, B], steps_per_task=10, cycles=2)
    assert [stream.segment(index) for index in range(4)] == [
        Segment(index=0, task=A, task_index=0, start=0, steps=10, visit=1),
        Segment(index=1, task=B, task_index=1, start=10, steps=10, visit=1),
        Segment(index=2, task=A, task_index=0, start=20, steps=10, visit=2),
        Segment(index=3, task=B, task_index=1, start=30, steps=10, visit=2),
    ]
    assert (stream.tasks, stream.n_segments, stream.total_steps) == ((A, B), 4, 40)


def test_explicit_segments() -> None:
    stream = TaskStream([(B, 5), (A, 7), (B, 1)])
    assert stream.tasks == (B, A)
    assert [(s.task, s.start, s.steps, s.visit) for s in map(stream.segment, range(3))] == [
        (B, 0, 5, 1),
        (A, 5, 7, 1),
        (B, 12, 1, 2),
    ]
    assert stream.total_steps == 13


def test_at_names_the_segment_of_the_next_transition() -> None:
    stream = TaskStream([(B, 5), (A, 7), (B, 1)])
    assert [stream.at(step) for step in (0, 4, 5, 11, 12, 13, 10**9)] == [0, 0, 1, 1, 2, 2, 2]
    with pytest.raises(ValueError, match="step must be a whole number of at least 0, got -1"):
        stream.at(-1)


def test_a_task_listed_twice_is_one_task() -> None:
    stream = TaskStream.build([A, B, A], steps_per_task=4)
    assert stream.tasks == (A, B)
    assert [(s.task_index, s.visit) for s in map(stream.segment, range(3))] == [(0, 1), (1, 1), (0, 2)]


def test_shuffle_is_a_permutation_each_cycle() -> None:
    stream = TaskStream.build([A, B, C], steps_per_task=1, cycles=40, order="shuffle", seed=3)
    names = _names(stream)
    cycles = [names[start : start + 3] for start in range(0, 120, 3)]
    assert all(sorted(cycle) == ["a", "b", "c"] for cycle in cycles)
    assert len(set(cycles)) == 6
    assert stream.tasks == (A, B, C)


def test_random_draws_each_segment() -> None:
    names = _names(TaskStream.build([A, B, C], steps_per_task=1, cycles=200, order="random", seed=3))
    assert len(names) == 600
    assert min(Counter(names).values()) > 150
    assert any(names[index] == names[index + 1] for index in range(599))
    assert any(sorted(names[start : start + 3]) != ["a", "b", "c"] for start in range(0, 600, 3))


@pytest.mark.parametrize("order", ["shuffle", "random"])
def test_order_depends_on_the_seed_alone(order: str) -> None:
    def names(seed: int) -> str:
        return _names(TaskStream.build([A, B, C], steps_per_task=1, cycles=20, order=order, seed=seed))

    assert names(0) == names(0)
    assert names(0) != names(1)


def test_known_orders_do_not_change() -> None:
    """A stream is part of an experiment: the same arguments give the same order in every release."""
    build = TaskStream.build
    assert _names(build([A, B, C], steps_per_task=1, cycles=3, order="shuffle", seed=1)) == "abccabbac"
    assert _names(build([A, B, C], steps_per_task=1, cycles=3, order="random", seed=1)) == "bbccaacca"


def test_rounded_goes_up_to_multiples() -> None:
    stream = TaskStream([(A, 5), (B, 8), (A, 9)])
    rounded = stream.rounded(4)
    assert [rounded.segment(index).steps for index in range(3)] == [8, 8, 12]
    assert [rounded.segment(index).start for index in range(3)] == [0, 8, 16]
    assert [rounded.segment(index).visit for index in range(3)] == [1, 1, 2]
    assert (rounded.total_steps, stream.total_steps) == (28, 22)
    assert stream.rounded(1).total_steps == 22
    with pytest.raises(ValueError, match="quantum must be a whole number of at least 1, got 0"):
        stream.rounded(0)


def test_endless() -> None:
    for stream in (TaskStream.build([A], steps_per_task=None), TaskStream([(A, None)])):
        assert stream.segment(0) == Segment(index=0, task=A, task_index=0, start=0, steps=None, visit=1)
        assert (stream.total_steps, stream.n_segments, stream.at(10**12)) == (None, 1, 0)
        assert stream.rounded(64).total_steps is None
        assert repr(stream) == "TaskStream(a without end)"


def test_thousands_of_segments_cost_nothing() -> None:
    began = time.process_time()
    stream = TaskStream.build([A, B, C], steps_per_task=1000, cycles=100_000, order="shuffle").rounded(64)
    assert stream.at(1024 * 150_000) == 150_000
    assert stream.segment(299_999).start == 299_999 * 1024
    assert time.process_time() - began < 2


def test_visits_are_counted_in_any_order() -> None:
    stream = TaskStream.build([A, B, C], steps_per_task=1, cycles=20, order="random", seed=4)
    seen: Counter[str] = Counter()
    for index in range(stream.n_segments):
        segment = stream.segment(index)
        seen[segment.task.name] += 1
        assert segment.visit == seen[segment.task.name]
    assert len(seen) == 3


def test_steps_of_each_task_follow_it_through_the_order() -> None:
    stream = TaskStream.build([A, B, C], steps_per_task=[5, 7, 11], cycles=6, order="shuffle", seed=2)
    segments = [stream.segment(index) for index in range(18)]
    assert {(segment.task.name, segment.steps) for segment in segments} == {("a", 5), ("b", 7), ("c", 11)}
    assert [segment.start for segment in segments] == [sum(s.steps or 0 for s in segments[:i]) for i in range(18)]
    assert (stream.total_steps, stream.shortest, stream.rounded(4).shortest) == (6 * 23, 5, 8)


@pytest.mark.parametrize(
    ("lengths", "variance"),
    [("poisson", 400), ("geometric", 400 * 399)],  # of a geometric distribution: mean x (mean - 1)
)
def test_drawn_lengths_have_the_distribution(lengths: str, variance: float) -> None:
    stream = TaskStream.build([A, B], steps_per_task=400, cycles=20_000, lengths=lengths, seed=3)
    steps = np.array([stream.segment(index).steps for index in range(0, 40_000, 2)])
    assert abs(steps.mean() / 400 - 1) < 0.03
    assert abs(steps.var() / variance - 1) < 0.06
    assert steps.min() >= 1
    again = TaskStream.build([A, B], steps_per_task=400, cycles=20_000, lengths=lengths, seed=3)
    assert again.total_steps == stream.total_steps
    other = TaskStream.build([A, B], steps_per_task=400, cycles=20_000, lengths=lengths, seed=4)
    assert other.total_steps != stream.total_steps


def test_drawn_lengths_leave_the_order_as_it_is() -> None:
    drawn, fixed = (
        TaskStream.build([A, B, C], steps_per_task=50, cycles=9, order="shuffle", lengths=lengths, seed=8)
        for lengths in ("geometric", "fixed")
    )
    assert _names(drawn) == _names(fixed)


def test_a_segment_has_at_least_one_step() -> None:
    assert TaskStream.build([A, B], steps_per_task=1, cycles=100, lengths="poisson").shortest == 1


def test_repr() -> None:
    assert repr(TaskStream([(A, 5000)])) == "TaskStream(a 5,000; 1 segment, 5,000 steps)"
    assert repr(TaskStream.build([A, B], steps_per_task=1000, cycles=4)) == (
        "TaskStream(a 1,000 -> b 1,000 -> a 1,000 -> b 1,000 -> a 1,000 -> b 1,000 -> ...; 8 segments, 8,000 steps)"
    )


def test_segments_are_indexed_from_0() -> None:
    stream = TaskStream([(A, 5), (B, 5)])
    for index in (-1, 2):
        with pytest.raises(IndexError, match=f"segment {index} does not exist; the stream has segments 0 to 1"):
            stream.segment(index)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": []}, "tasks must name at least one task, got none; add"),
        ({"tasks": [], "order": "random"}, "tasks must name at least one task, got none; add"),
        ({"steps_per_task": 0}, "steps_per_task must be a whole number of at least 1, got 0; give the steps"),
        ({"steps_per_task": True}, "steps_per_task must be a whole number of at least 1, got True"),
        ({"steps_per_task": None}, "steps_per_task must be a whole number of at least 1, got None; give the steps"),
        ({"tasks": [A], "steps_per_task": None, "cycles": 2}, "steps_per_task must be a whole number"),
        ({"cycles": 0}, "cycles must be a whole number of at least 1, got 0; give"),
        ({"cycles": None}, "cycles must be a whole number of at least 1, got None"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"order": "shufle"}, "order must be one of sequence, shuffle, random, got 'shufle'; did you mean 'shuffle'?"),
        ({"lengths": "fix"}, "lengths must be one of fixed, poisson, geometric, got 'fix'; did you mean 'fixed'?"),
        ({"steps_per_task": [5]}, "steps_per_task has 1 numbers for 2 tasks; give one for all of them, or one for"),
        ({"steps_per_task": [5, 0]}, "steps_per_task must be a whole number of at least 1, got 0; give the steps"),
        ({"tasks": [A], "steps_per_task": None, "lengths": "poisson"}, "lengths='poisson' needs a mean number of"),
        ({"tasks": [A, Task("x", object, variant_of="a")]}, "a task and the variants of another are both named 'a'"),
        ({"steps_per_task": 2**60}, "steps_per_task of up to 1,152,921,504,606,846,976 in 2 segments are too many"),
        ({"steps_per_task": 2**80}, "steps_per_task of up to 1,208,925,819,614,629,174,706,176 in 2 segments are too"),
        ({"tasks": [A, Task("a", int)]}, "two different tasks are named 'a'; give each its own name"),
    ],
)
def test_refusals(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the message is compared below)
        TaskStream.build(**({"tasks": [A, B], "steps_per_task": 10} | arguments))  # type: ignore[arg-type]
    assert str(refusal.value).startswith(message)


def test_explicit_refusals() -> None:
    with pytest.raises(ValueError, match="at least one task"):
        TaskStream([])
    with pytest.raises(ValueError, match=r"segments must be a whole number of at least 1, got None; .*without end"):
        TaskStream([(A, 5), (B, None)])


def test_tasks_made_twice_from_one_entry_are_one() -> None:
    assert len(TaskStream.build([task_from("breakout"), task_from("breakout")], steps_per_task=3).tasks) == 1
