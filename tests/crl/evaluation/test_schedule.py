"""When evaluations are due, worked out by hand."""

from __future__ import annotations

import pytest

from crl.evaluation.schedule import Schedule
from envs import TaskStream
from envs.entries import task_from


def stream(*steps: int) -> TaskStream:
    return TaskStream([(task_from("cartpole"), each) for each in steps])


def all_of(schedule: Schedule) -> list[int]:
    """The steps of the whole schedule behind the one at step 0."""
    end = schedule.stream.total_steps
    assert end is not None
    found = [0]
    while found[-1] < end:
        found.append(schedule.after(found[-1]))
    return found[1:]


SCHEDULES = {
    "dense where a visit begins and sparse later": ((1000, 1000), 400, 2, 1, [
        100, 200, 400, 800, 1000, 1100, 1200, 1400, 1800, 2000,
    ]),
    "the end of a visit counts once where a multiple falls on it": ((200, 200), 100, 0, 1, [100, 200, 300, 400]),
    "visits shorter than the interval": ((30, 30, 30), 400, 4, 1, [25, 30, 55, 60, 85, 90]),
    "visits shorter than all of it": ((20, 20), 400, 4, 1, [20, 40]),
    "halves of small numbers are not made twice": ((10,), 5, 30, 1, [1, 2, 5, 10]),
    "every step": ((3, 2), 1, 4, 1, [1, 2, 3, 4, 5]),
    "one end in two": ((20, 20, 20, 20, 20), 400, 0, 2, [40, 80, 100]),
    "no end but the last": ((20, 20, 20), 400, 0, 8, [60]),
    "visits of several lengths": ((5, 500, 50), 100, 1, 1, [5, 55, 105, 205, 305, 405, 505, 555]),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_steps(name: str) -> None:
    lengths, every, dense, visits, expected = SCHEDULES[name]
    schedule = Schedule(stream(*lengths), every, dense, visits)
    assert all_of(schedule) == expected
    assert schedule.count == len(expected)


def test_a_late_look_skips_what_is_past_and_the_end_is_the_last() -> None:
    schedule = Schedule(stream(1000, 1000), 400, 2)
    assert [schedule.after(step) for step in (150, 399, 999, 1001, 1999, 2000, 2500)] == [
        200, 400, 1000, 1100, 2000, 2000, 2000
    ]  # fmt: skip


def test_intervals_are_widened_before_ends_are_left_out() -> None:
    schedule = Schedule(stream(1000, 1000), 400, 2)
    assert schedule.widened(10) == schedule
    wider = schedule.widened(9)
    assert (wider.every, wider.visits, all_of(wider)) == (800, 1, [200, 400, 800, 1000, 1200, 1400, 1800, 2000])
    assert wider.rule == "every 800 steps of a visit and at its end"
    ends, end = schedule.widened(2), schedule.widened(1.9)
    assert (ends.rule, all_of(ends)) == ("at the ends of visits alone", [1000, 2000])
    assert (end.rule, all_of(end)) == ("at the end alone", [2000])
    assert schedule.widened(-3) == end
    assert Schedule(stream(20, 20, 20), 400, 0, 2).rule == "at the end of one visit in 2 alone"


def test_many_visits_of_drawn_lengths() -> None:
    tasks = [task_from("cartpole")]
    poisson = TaskStream.build(tasks, steps_per_task=100, cycles=5000, lengths="poisson")
    schedule = Schedule(poisson, 64, 3)
    assert schedule.count == len(all_of(schedule)) > 5 * 5000
    assert schedule.widened(700).count <= 700
