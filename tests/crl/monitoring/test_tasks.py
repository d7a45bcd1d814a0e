"""Returns of tasks, driven by hand: windows, results of visits, tags."""

from __future__ import annotations

from typing import Any

import numpy as np

from crl.monitoring.tasks import tag_of


def test_window_starts_empty_at_every_switch(playing: Any) -> None:
    played = playing()
    assert played.recorded() == {"task/index": 0, "task/segment": 0}
    played.step(2.0)
    played.step(4.0, 9.0)
    assert played.recorded() == {
        "task/index": 0, "task/segment": 0, "task/breakout/ep_rew_mean": 5.0, "task/breakout/ep_len_mean": 50.0,
    }  # fmt: skip
    for _ in range(7):
        played.step()
    played.step(1.0, None, switched=True)  # the last step of the visit still belongs to breakout
    assert played.recorded()["task/breakout/ep_rew_mean"] == 4.0
    played.step()
    assert played.recorded() == {"task/index": 1, "task/segment": 1}
    played.step(3.0)
    assert played.recorded()["task/asterix/ep_rew_mean"] == 3.0


def test_window_holds_a_hundred_episodes(playing: Any) -> None:
    played = playing(steps_per_task=1000)
    for number in range(120):
        played.step(float(number))
    assert played.recorded()["task/breakout/ep_rew_mean"] == np.mean(range(20, 120))


def test_result_of_a_visit_is_its_last_tenth(playing: Any) -> None:
    played = playing(steps_per_task=20, cycles=2)
    for _ in range(9):
        played.step(7.0)  # steps 2 to 18 of 20: too early
    played.step(1.0, 2.0)
    for _ in range(10):
        played.step()  # asterix: no episode ends
    for _ in range(9):
        played.step(7.0)
    played.step(6.0)
    for _ in range(10):
        played.step()
    played.step(100.0)  # after the end of the stream: counts for nothing
    assert [(v["task"], v["visit"], v["start"], v["mean_return"], v["episodes"]) for v in played.callback.visits()] == [
        ("breakout", 1, 0, 1.5, 2),
        ("asterix", 1, 20, None, 0),
        ("breakout", 2, 40, 6.0, 1),
        ("asterix", 2, 60, None, 0),
    ]
    assert played.callback.mean_return() is None


def test_a_visit_without_late_episodes_shows_its_last_ones(playing: Any) -> None:
    played = playing(steps_per_task=20, cycles=2)
    played.step(3.0, 5.0)
    for _ in range(9):
        played.step()
    for _ in range(10):
        played.step()  # asterix: no episode ends at all
    played.step(8.0)  # breakout again, and the run stops here
    found = [(v["mean_return"], v["episodes"], v["over"]) for v in played.callback.visits()]
    none = (None, 0, "last episodes")
    assert found == [(4.0, 2, "last episodes"), none, (8.0, 1, "last episodes"), none]


def test_tags_hold_no_separator_of_csv() -> None:
    assert tag_of('Pendulum-v1(g=5.0, name="a b")') == "Pendulum-v1(g=5.0;name=;a;b;)"
    assert tag_of("space_invaders") == "space_invaders"
