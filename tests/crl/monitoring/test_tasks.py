"""Returns of tasks, driven by hand: windows, results of visits, tags."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from crl.monitoring.tasks import tag_of


def test_window_starts_empty_at_every_switch(playing: Any) -> None:
    played = playing()
    assert played.recorded() == {"task/index": 0, "task/segment": 0}
    played.step(2.0)
    played.step(4.0, 9.0)
    assert played.recorded() == {
        "task/index": 0, "task/segment": 0, "Return/breakout": 5.0, "episode_length/breakout": 50.0,
    }  # fmt: skip
    for _ in range(7):
        played.step()
    played.step(1.0, None, switched=True)  # the last step of the visit still belongs to breakout
    assert played.recorded()["Return/breakout"] == 4.0
    played.step()
    assert played.recorded() == {"task/index": 1, "task/segment": 1}
    played.step(3.0)
    assert played.recorded()["Return/asterix"] == 3.0


def test_window_holds_a_hundred_episodes(playing: Any) -> None:
    played = playing(steps_per_task=1000)
    for number in range(120):
        played.step(float(number))
    assert played.recorded()["Return/breakout"] == np.mean(range(20, 120))


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
    assert [(v.task, v.visit, v.start, v.mean_return, v.episodes) for v in played.callback.visits()] == [
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
    found = [(v.mean_return, v.episodes, v.over) for v in played.callback.visits()]
    none = (None, 0, "last episodes")
    assert found == [(4.0, 2, "last episodes"), none, (8.0, 1, "last episodes"), none]


def test_tags_hold_no_separator_of_csv_and_no_parenthesis() -> None:
    assert tag_of('Pendulum-v1(g=5.0, name="a b")') == "Pendulum-v1[g=5.0;name=;a;b;]"
    assert tag_of("space_invaders") == "space_invaders"


# ---------------------------------------------------------------------- variants

VARIANTS = {"id": "breakout", "shifts": ["pixel_permutation"], "variants": 3}
FAMILY = "breakout+pixel_permutation"


def test_variants_share_their_tags_and_start_with_an_empty_window(playing: Any) -> None:
    played = playing(VARIANTS, "asterix", steps_per_task=4)
    played.step(2.0, 4.0)
    assert played.recorded() == {
        "task/index": 0, "task/segment": 0, f"Return/{FAMILY}": 3.0, f"episode_length/{FAMILY}": 30.0,
    }  # fmt: skip
    played.step(None, 6.0, switched=True)
    assert played.recorded()[f"Return/{FAMILY}"] == 4.0  # the row of the visit that ended
    played.step()
    assert played.recorded() == {"task/index": 1, "task/segment": 1}
    played.step(8.0)
    assert played.recorded()[f"Return/{FAMILY}"] == 8.0
    for _ in range(2):
        played.step(1.0)
    played.step(5.0)
    assert played.recorded()["task/index"] == 3
    assert played.recorded()["Return/asterix"] == 5.0


def test_results_of_variants_name_their_family(playing: Any) -> None:
    played = playing(VARIANTS, "asterix", steps_per_task=4)
    assert played.callback.visits()[0].model_dump() == {
        "task": f"{FAMILY}#0", "family": FAMILY, "visit": 1, "segment": 0, "start": 0, "steps": 4,
        "mean_return": None, "episodes": 0, "over": "last episodes",
    }  # fmt: skip
    played.step(9.0)
    played.step(2.0, 4.0)  # the last tenth of four steps is the last batch step
    played.step(7.0)
    played.step(None, None, switched=True)
    played.step()
    found = [(v.task, v.family, v.mean_return, v.episodes, v.over) for v in played.callback.visits()]
    assert found == [
        (f"{FAMILY}#0", FAMILY, 3.0, 2, "last tenth"),
        (f"{FAMILY}#1", FAMILY, 7.0, 1, "last episodes"),
        (f"{FAMILY}#2", FAMILY, None, 0, "last episodes"),
        ("asterix", "asterix", None, 0, "last episodes"),
    ]
    assert played.callback.segment.index == 2


def test_a_state_holds_the_results_of_ended_visits(playing: Any) -> None:
    def begun() -> Any:
        played = playing(VARIANTS, steps_per_task=4, cycles=2)
        for value in (1.0, 2.0, 3.0, 4.0, 5.0):
            played.step(value)
        return played

    def goes_on(played: Any) -> Any:
        for value in (6.0, 7.0, 8.0):
            played.step(value, value + 1)
        return played.recorded(), played.callback.visits()

    played, other = begun(), playing(VARIANTS, steps_per_task=4, cycles=2)
    state = json.loads(json.dumps(played.callback.state()))
    assert (state["segment"], state["returns"]) == (2, [5.0])
    assert state["ended"] == {
        str(index): {"mean_return": value, "episodes": 1, "over": "last tenth"} for index, value in ((0, 2.0), (1, 4.0))
    }
    other.callback.restore(state)
    other.model.num_timesteps = played.model.num_timesteps
    assert other.callback.state() == state
    with pytest.raises(IndexError, match="segment 99 does not exist"):
        other.callback.restore({**state, "ended": {"99": state["ended"]["0"]}})
    row, visits = goes_on(played)
    assert goes_on(other) == (row, visits)
    assert [visit.mean_return for visit in visits] == [2.0, 4.0, 6.5, 8.5, None, None]


def test_thousands_of_visits(playing: Any) -> None:
    played = playing(VARIANTS | {"variants": 5000}, steps_per_task=2)
    for value in range(4999):
        played.step(float(value))
    visits = played.callback.visits()
    assert [visit.mean_return for visit in visits] == [*map(float, range(4999)), None]
    assert {visit.family for visit in visits} == {FAMILY}
    assert len(json.dumps(played.callback.state())) < 5000 * 100
