"""The named streams."""

from collections.abc import Sequence
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.catalogue import (
    ATARI,
    CONTROL,
    DMC,
    GAMES,
    METAWORLD,
    MUJOCO,
    PROCGEN,
    PROCGEN_GAMES,
    STREAMS,
    TASKS,
    is_game,
)

CONFIGS = Path(__file__).parents[2] / "configs"


def test_games_are_the_package_s() -> None:
    assert sorted(GAMES) == ["asterix", "breakout", "freeway", "seaquest", "space_invaders"]


def test_minatar_streams() -> None:
    assert STREAMS["minatar3"].tasks == ("space_invaders", "asterix", "seaquest")
    assert STREAMS["minatar5"].tasks == ("space_invaders", "asterix", "seaquest", "breakout", "freeway")
    for name in ("minatar3", "minatar5"):
        stream = STREAMS[name]
        assert (stream.steps_per_task, stream.cycles) == (500_000, 1)
        assert "arXiv" in stream.source
        assert stream.entries(0) == stream.entries(1) == stream.tasks


def test_games_are_told_from_other_entries() -> None:
    assert all(is_game(entry) for entry in (*GAMES, {"id": "seaquest", "episode_limit": 5}))
    assert not any(is_game(entry) for entry in (*CONTROL, *STREAMS, "CartPole-v1", {"id": ["seaquest"]}, {}, 7, None))


def test_plain_names() -> None:
    assert CONTROL == ("cartpole", "acrobot", "mountain_car", "mountain_car_continuous", "pendulum")
    assert MUJOCO == ("ant", "halfcheetah", "hopper", "walker2d")
    assert (len(PROCGEN_GAMES), PROCGEN[:2], len(PROCGEN)) == (16, ("bigfish_easy", "bigfish_hard"), 32)
    assert (len(ATARI), len(DMC), len(METAWORLD)) == (104, 49, 50)
    assert tuple(TASKS) == GAMES + CONTROL + MUJOCO + PROCGEN + ATARI + DMC + METAWORLD
    assert [name for name, task in TASKS.items() if not task.restores] == [*PROCGEN, *ATARI, *DMC, *METAWORLD]
    assert not set(TASKS) & set(STREAMS)


@pytest.mark.parametrize(("task", "dimensions"), [("cartpole", 4), ("acrobot", 6)])
def test_cchain_levels(task: str, dimensions: int) -> None:
    stream = STREAMS[f"cchain/{task}"]
    assert stream.tasks == tuple(f"level_{level}" for level in range(10))
    assert (stream.steps_per_task, stream.cycles) == (160_000, 1)
    entries = _mappings(stream.entries(7))
    assert [(entry["id"], entry["episode_limit"], entry["reward_scale"]) for entry in entries] == [
        (task, 400, 0.05)
    ] * 10
    offsets = [entry["offset"] for entry in entries]
    assert offsets[0] == [0.0] * dimensions
    assert all(type(number) is float for offset in offsets for number in offset)
    assert {len(offset) for offset in offsets} == {dimensions}
    assert len({number for offset in offsets[1:] for number in offset}) == 9 * dimensions


def test_cchain_offsets_come_from_the_seed() -> None:
    draw = STREAMS["cchain/cartpole"].entries
    assert draw(7) == draw(7)
    drawn = np.array([[entry["offset"] for entry in _mappings(draw(seed))] for seed in range(300)])[:, 1:]
    assert len(np.unique(drawn)) == drawn.size == 300 * 9 * 4
    # Standard error of a mean of 10,800 draws: 2 / sqrt(10,800) = 0.02; of a standard deviation: 0.014.
    assert abs(drawn.mean()) < 0.08
    assert abs(drawn.std() - 2) < 0.06
    # No level and no dimension is special; 1,200 and 2,700 draws of each.
    assert np.abs(drawn.std(axis=(0, 2)) - 2).max() < 0.2
    assert np.abs(drawn.std(axis=(0, 1)) - 2).max() < 0.14


def test_procgen_levels() -> None:
    for game in PROCGEN_GAMES:
        for source, mode, levels in (("cchain", "hard", range(20, 30)), ("plasticine", "easy", range(0, 200, 20))):
            stream = STREAMS[f"{source}/{game}"]
            assert stream.tasks == tuple(f"level_{level}" for level in levels)
            assert (stream.steps_per_task, stream.cycles, stream.restores) == (2_000_000, 1, False)
            assert _mappings(stream.entries(3)) == [
                {"name": f"level_{level}", "id": f"{game}_{mode}", "start_level": level, "num_levels": 1}
                for level in levels
            ]


def test_cora_s_games() -> None:
    stream = STREAMS["cora/procgen"]
    assert stream.tasks == ("climber", "dodgeball", "ninja", "starpilot", "bigfish", "fruitbot")
    assert (stream.steps_per_task, stream.cycles, stream.restores) == (5_000_000, 5, False)
    assert _mappings(stream.entries(3)) == [
        {"name": game, "id": f"{game}_easy", "num_levels": 200} for game in stream.tasks
    ]


def test_pendulums() -> None:
    stream = STREAMS["pendulum5"]
    assert stream.tasks == ("earth", "moon", "short", "mars", "long")
    assert (stream.steps_per_task, stream.cycles) == (20_000, 1)
    entries = _mappings(stream.entries(0))
    assert [set(entry) for entry in entries] == [{"name", "id", "gravity", "length"}] * 5
    assert entries[0] == {"name": "earth", "id": "pendulum", "gravity": 10.0, "length": 1.0}  # Gymnasium's
    assert len({(entry["gravity"], entry["length"]) for entry in entries}) == 5
    assert stream.entries(0) == stream.entries(1)
    # The torque carries at least a quarter of the pole's weight; on the moon and nowhere else all of it.
    carried = [2.0 / (entry["gravity"] * entry["length"] / 2) for entry in entries]
    assert min(carried) > 0.25
    assert [share > 1 for share in carried] == [False, True, False, False, False]


def _mappings(entries: Sequence[object]) -> list[dict[str, Any]]:
    assert all(isinstance(entry, dict) for entry in entries)
    return list(entries)  # type: ignore[arg-type]


def test_every_stream_has_an_entry_for_each_visit_of_a_task() -> None:
    for name, stream in STREAMS.items():
        entries = [entry if isinstance(entry, dict) else {"name": entry} for entry in stream.entries(3)]
        if name == "ptdqn/minatar":  # which draws them
            assert {entry["name"] for entry in entries} <= set(stream.tasks)
        else:
            assert len(stream.tasks) == sum(entry.get("variants", 1) for entry in entries)
            named = [entry["name"] for entry in entries if "name" in entry]
            assert named == list(stream.tasks) or not named
        assert "\n" not in stream.description


def test_catalogue_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        STREAMS["minatar3"].cycles = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        STREAMS["mine"] = STREAMS["minatar3"]  # type: ignore[index]


def test_every_stream_that_is_published_says_what_differs_and_has_settings() -> None:
    ours = {"minatar3", "minatar5", "minatar_saf", "mujoco3", "permuted_breakout", "pendulum5", "pendulum_drift"}
    for name, stream in STREAMS.items():
        assert bool(stream.differs) is (name not in ours), name
        assert stream.config is not None
        assert (CONFIGS / stream.config.split()[0]).is_file(), name


def test_offsets_of_the_other_control_tasks() -> None:
    lander = _mappings(STREAMS["cchain/lunarlander"].entries(7))
    assert [entry["shifts"][1] for entry in lander] == [{"name": "reward_scale", "scale": 0.05}] * 10
    assert {entry["id"] for entry in lander} == {"LunarLander-v3"}
    assert lander[0]["shifts"][0] == {"name": "observation_offset", "offset": [0.0] * 8}
    assert lander == _mappings(STREAMS["trac/lunarlander"].entries(7))
    car = STREAMS["cchain/mountaincar"]
    offsets = np.array([entry["offset"] for seed in range(50) for entry in _mappings(car.entries(seed))[1:]])
    assert (car.steps_per_task, offsets.shape) == (320_000, (450, 2))
    assert abs(offsets.std() - 0.02) < 0.002


def test_games_are_drawn_for_pt_dqn() -> None:
    draws = [[entry["id"] for entry in _mappings(STREAMS["ptdqn/minatar"].entries(seed))] for seed in range(300)]
    assert {len(games) for games in draws} == {7}
    # Of 2,100 draws a third each; the standard deviation of a count is 22.
    counts = [sum(games.count(game) for games in draws) for game in ("breakout", "space_invaders", "freeway")]
    assert max(abs(count - 700) for count in counts) < 90
    assert all(entry["ramping"] is False for entry in _mappings(STREAMS["ptdqn/minatar"].entries(0)))


def test_the_sequences_of_fame() -> None:
    first, last = STREAMS["fame/minatar0"], STREAMS["fame/minatar29"]
    assert sum(name.startswith("fame/minatar") for name in STREAMS) == 30
    assert first.tasks == (
        "breakout", "space_invaders", "breakout", "space_invaders", "space_invaders", "freeway", "breakout",
    )  # fmt: skip
    assert last.tasks[:4] == ("space_invaders", "breakout", "space_invaders", "freeway")
    assert _mappings(first.entries(0))[5] == {"name": "freeway", "id": "freeway", "ramping": False}
    assert {(STREAMS[name].steps_per_task, len(STREAMS[name].tasks)) for name in STREAMS if "fame/minatar" in name} == {
        (500_000, 7)
    }


def test_modes_bodies_and_tasks() -> None:
    invaders, freeway = (_mappings(STREAMS[f"fame/{game}"].entries(0)) for game in ("space_invaders", "freeway"))
    assert [entry["mode"] for entry in invaders] == [*range(10)]
    assert [(entry["name"], entry["id"]) for entry in freeway][7:] == [("mode_7", "atari/freeway")]
    assert STREAMS["cora/atari6"].tasks == ("space_invaders", "krull", "beam_rider", "hero", "star_gunner", "ms_pacman")
    assert STREAMS["cchain/quadruped"].tasks == ("walk", "run", "walk")
    visits = {body: STREAMS[f"plasticine/{body}"] for body in ("dog", "walker", "quadruped")}
    assert {body: len(stream.tasks) * stream.cycles for body, stream in visits.items()} == {
        "dog": 8, "walker": 6, "quadruped": 6,
    }  # fmt: skip
    cw10, cw20 = STREAMS["cw10"], STREAMS["cw20"]
    assert (cw10.tasks, cw10.cycles, cw20.cycles) == (cw20.tasks, 1, 2)
    assert {entry["episode_limit"] for entry in _mappings(cw20.entries(0))} == {200}
