"""Streams of variants: batches that stay at switches, states in the middle of one, last observations, pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from shifted import Talking, assert_same, random_actions, through_json

from envs.catalogue import MUJOCO
from envs.making import make
from envs.state import copied
from envs.stream import TaskStream
from envs.task import Task
from envs.vector import StreamVectorEnv

GAMES = 3
STEPS = 12  # batch steps of a visit
SHIFTS: dict[str, Any] = {
    "pixel_permutation": "pixel_permutation",
    "action_permutation": "action_permutation",
    "observation_noise": {"name": "observation_noise", "std": {"uniform": [0.1, 1]}},
    "sticky_actions": {"name": "sticky_actions", "probability": {"uniform": [0.2, 0.8]}},
    "frame_skip": {"name": "frame_skip", "skip": {"integers": [1, 3]}},
    "reward_scale": {"name": "reward_scale", "scale": {"log_uniform": [0.1, 10]}},
}
WORLDS: dict[str, dict[str, Any]] = {
    "minatar": {"id": "breakout", "episode_limit": 7, "sticky_prob": 0.3},
    "cartpole": {"id": "cartpole", "episode_limit": 9},
    "user": {"id": "Talking-v0"},
}


class Named(gymnasium.Env[Any, Any]):
    """Observes a dict of its steps and its action; lasts as many steps as it draws."""

    observation_space = gymnasium.spaces.Dict(
        {"steps": gymnasium.spaces.Box(0, 99, (2,), np.float32), "action": gymnasium.spaces.Discrete(3)}
    )
    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self, tone: int = 0) -> None:
        self.tone = tone

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps, self.length = 0, int(self.np_random.integers(2, 6))
        return self._seen(0), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self._seen(int(action)), 1.0, self.steps == self.length, False, {"steps": self.steps}

    def _seen(self, action: int) -> Any:
        return {"steps": np.array([self.steps, self.tone], np.float32), "action": np.int64(action)}


@pytest.fixture(autouse=True)
def users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers a user's worlds: ``Talking-v0``, which can be saved, and ``Named-v0``, which cannot."""
    for world in (Talking, Named):
        id = f"{world.__name__}-v0"
        monkeypatch.setitem(gymnasium.registry, id, EnvSpec(id, entry_point=world))


def variants(world: str, *shifts: str, steps: int = STEPS, **arguments: Any) -> StreamVectorEnv:
    """Four variants of a world with these shifts, each visited for some batch steps of three games."""
    entry = WORLDS[world] | {"shifts": [SHIFTS[shift] for shift in shifts], "variants": 4}
    return make(entry, n_envs=GAMES, steps_per_task=GAMES * steps, **{"seed": 5, **arguments})


def trace(env: StreamVectorEnv, actions: list[Any]) -> list[Any]:
    """Copies of all that it says in reply to ``actions``."""
    return [copied(env.step(batch)) for batch in actions]


def seeds(env: StreamVectorEnv, seed: int) -> list[int]:
    sequence = np.random.SeedSequence((seed, env.segment.index))
    return [int(number) for number in sequence.generate_state(GAMES)]


def said(step: Any, ended_at_a_switch: bool = False) -> list[Any]:
    """What the games themselves say in a step: observations, rewards, flags and last observations."""
    *played, info = copied(step)
    if ended_at_a_switch or "final_obs" not in info:
        return played
    ended = info["_final_obs"]
    return [*played, ended, [info["final_obs"][game] for game in np.flatnonzero(ended)]]


# ---------------------------------------------------------------------- batches that stay


@pytest.mark.parametrize("shifts", [*((shift,) for shift in SHIFTS), tuple(SHIFTS)], ids="+".join)
@pytest.mark.parametrize("world", WORLDS)
def test_a_batch_that_stays_plays_as_a_fresh_one(world: str, shifts: tuple[str, ...]) -> None:
    env = variants(world, *shifts)
    batch = env.games
    observations, _ = env.reset()
    seen = []
    for visit in range(4):
        fresh = env.segment.task.make_games(GAMES)
        first, _ = fresh.reset(seed=5 if visit == 0 else seeds(env, 5))
        np.testing.assert_array_equal(observations, first)
        assert observations.dtype == first.dtype
        for step, actions in enumerate(random_actions(env, STEPS)):
            expected, found = fresh.step(actions), env.step(actions)
            observations = found[0]
            if step == STEPS - 1 and visit < 3:
                assert found[4]["task_switched"].all()
                assert_same(copied(found[1]), copied(expected[1]))
            else:
                assert_same(said(found), said(expected))
        assert env.games is batch
        seen.append(copied(dict(env.segment.task.shifts[0][1])))
    assert len({str(arguments) for arguments in seen}) > 1
    assert env.segment.index == 3


def test_a_batch_goes_back_to_the_first_variant() -> None:
    env = variants("minatar", *SHIFTS)
    batch, actions = env.games, random_actions(env, 3 * STEPS)
    first, _ = env.reset(seed=9)
    expected = trace(env, actions)
    assert env.segment.index == 3
    again, _ = env.reset(seed=9)
    assert env.games is batch
    assert_same(again, first)
    assert_same(trace(env, actions), expected)


CHANGED: dict[str, dict[str, Any]] = {
    "breakout": {"sticky_prob": {"uniform": [0, 1]}, "ramping": {"choice": [True, False]}},
    "cartpole": {"gravity": {"uniform": [5, 15]}, "length": {"uniform": [0.3, 1]}, "masspole": {"uniform": [0.1, 1]}},
    "acrobot": {"mass_1": {"uniform": [0.5, 2]}, "length_2": {"uniform": [0.5, 2]}},
    "mountain_car": {"force": {"uniform": [0.001, 0.01]}},
    "pendulum": {"gravity": {"uniform": [1, 10]}, "mass": {"uniform": [0.5, 2]}},
    "ant": {"friction": {"log_uniform": [0.02, 2]}, "gravity": {"uniform": [5, 15]}},
    "halfcheetah": {"stiffness": {"uniform": [0.5, 2]}, "mass": {"uniform": [0.5, 2]}},
    "hopper": {"mass": {"uniform": [0.5, 2]}, "stiffness": {"uniform": [0, 5]}},
    "walker2d": {"friction": {"uniform": [0.5, 2]}},
}


@pytest.mark.parametrize("world", CHANGED)
def test_a_batch_that_changes_its_world_in_place_plays_as_one_made_anew(world: str) -> None:
    if world in MUJOCO:
        pytest.importorskip("mujoco", reason="needs the extra mujoco")
    entry = {"id": world, **CHANGED[world], "variants": 3}
    env = make(entry, n_envs=2, steps_per_task=60, cycles=2, seed=4)
    env.reset()
    batch, actions = env.games, random_actions(env, 30)
    for segment in range(1, 5):
        for row in actions[env.steps // 2 % 30 :]:
            env.step(row)
        assert (env.segment.index, env.games is batch) == (segment, True)
        anew = env.segment.task.make_games(2)
        anew.reset(seed=np.random.SeedSequence((4, segment)).generate_state(2).tolist())
        for row in actions[:25]:
            assert_same(env.step(row)[:4], anew.step(row)[:4])


def test_another_limit_is_a_new_batch() -> None:
    env = make({"id": "pendulum", "episode_limit": {"integers": [5, 900]}, "variants": 2}, steps_per_task=4, seed=0)
    env.reset()
    before = env.games
    for _ in range(4):
        env.step(np.zeros((1, 1), np.float32))
    assert env.task == "pendulum(episode_limit=*)#1"
    assert env.games is not before


def test_games_that_cannot_be_saved_are_made_anew(counting: Callable[..., Task]) -> None:
    for saved in (False, True):
        task = counting("a", 1, saved=saved)
        env = StreamVectorEnv(TaskStream([(task, 4), (task, 4)]), 2)
        env.reset(seed=0)
        before = env.games
        for _ in range(2):
            env.step(np.zeros(2, np.int64))
        made = task.world.made  # type: ignore[attr-defined]
        assert (env.segment.index, env.games is before, len(made)) == (1, saved, 3 if saved else 5)
        assert [game.closed for game in made] == [True, *([False] * 2 if saved else [True] * 2 + [False] * 2)]


def test_the_same_shifts_in_another_order_are_another_batch() -> None:
    shifts = [SHIFTS["pixel_permutation"], {"name": "observation_noise", "std": 1}]
    entries = [{"id": "cartpole", "shifts": listed, "name": str(n)} for n, listed in enumerate((shifts, shifts[::-1]))]
    env = make(entries, n_envs=1, steps_per_task=1, seed=0)
    env.reset()
    before = env.games
    env.step(np.zeros(1, np.int64))
    assert env.games is not before


# ---------------------------------------------------------------------- state


@pytest.mark.parametrize("world", WORLDS)
def test_a_state_from_the_middle_of_a_variant_continues_exactly(world: str) -> None:
    env = variants(world, *SHIFTS)
    actions = random_actions(env, 4 * STEPS)
    env.reset()
    trace(env, actions[: STEPS + 5])
    state = through_json(env.get_state())
    expected = trace(env, actions[STEPS + 5 :])
    assert [bool(step[4]["task_switched"][0]) for step in expected].count(True) == 2
    fresh, used = variants(world, *SHIFTS, seed=77, stream_seed=5), variants(world, *SHIFTS)
    used.reset(seed=1)
    trace(used, actions[: 2 * STEPS + 3])
    for other in (fresh, used, env):
        other.set_state(state)
        assert (other.steps, other.segment) == (GAMES * (STEPS + 5), other.stream.segment(1))
        assert_same(trace(other, actions[STEPS + 5 :]), expected)


def test_a_state_of_other_arguments_is_refused() -> None:
    def made(**arguments: Any) -> StreamVectorEnv:
        env = variants("cartpole", "reward_scale", **arguments)
        env.reset()
        trace(env, random_actions(env, STEPS + 1))
        return env

    state, other = made().get_state(), made(stream_seed=6)
    scales = [env.segment.task.shifts[0][1]["scale"] for env in (made(), other)]
    with pytest.raises(ValueError, match="make the stream with the arguments that it was saved with") as refusal:
        other.set_state(state)
    assert all(repr(scale) in str(refusal.value) for scale in scales)
    assert str(refusal.value).startswith("a state of task 'cartpole(episode_limit=9)+reward_scale(scale=*)#1' with {")
    other.step(np.zeros(GAMES, np.int64))  # which has not been touched
    made(seed=6, stream_seed=5).set_state(state)


# ---------------------------------------------------------------------- last observations


def game_of(observations: Any, game: int) -> Any:
    """One game's observation of a batch."""
    if isinstance(observations, dict):
        return {key: observations[key][game] for key in observations}
    return observations[game]


@pytest.mark.parametrize(("entry", "dtype"), [(WORLDS["minatar"], np.bool_), (WORLDS["cartpole"], np.float32),
                                              (WORLDS["user"], np.uint8), ({"id": "Named-v0"}, object)])  # fmt: skip
@pytest.mark.parametrize("at", [3, 4, 5, 7])
def test_last_observations_at_a_switch_are_those_without_it(entry: dict[str, Any], dtype: Any, at: int) -> None:
    """Of games that the switch cuts as of those whose episode ends in that very step."""
    n_envs = 8
    switching = make([entry, entry | {"name": "next"}], n_envs=n_envs, steps_per_task=n_envs * at, seed=3)
    staying = make(entry, n_envs=n_envs, seed=3)
    actions = random_actions(staying, at)
    for env in (switching, staying):
        env.reset()
        for batch in actions[:-1]:
            env.step(batch)
    found, expected = (copied(env.step(actions[-1])) for env in (switching, staying))
    ended = expected[2] | expected[3]
    info = found[4]
    assert info["task_switched"].all()
    assert info["_final_obs"].all()
    assert info["final_info"]["cut_by_switch"].tolist() == (~ended).tolist()
    assert found[2].tolist() == expected[2].tolist()
    assert found[3].tolist() == (expected[3] | ~ended).tolist()
    for game in range(n_envs):
        last = game_of(expected[0], game) if not ended[game] else expected[4]["final_obs"][game]
        assert_same(info["final_obs"][game], last)
    if not ended.any():
        assert info["final_obs"].dtype == dtype


# ---------------------------------------------------------------------- pictures


def test_pictures_of_all_games_on_both_sides_of_a_switch() -> None:
    env = make(["breakout", "asterix"], n_envs=3, steps_per_task=6, seed=0, render_mode="rgb_array")
    env.reset()
    pictures = []
    for _ in range(4):
        frames = env.render()
        assert isinstance(frames, tuple)
        assert [(frame.dtype, frame.shape) for frame in frames] == [(np.uint8, (320, 320, 3))] * 3
        pictures.append((env.task, frames[0].copy()))
        env.step(np.zeros(3, np.int64))
    assert [task for task, _ in pictures] == ["breakout"] * 2 + ["asterix"] * 2
    assert (pictures[1][1] != pictures[2][1]).any()


def test_without_a_render_mode_there_is_no_picture() -> None:
    env = make("breakout", n_envs=2, seed=0)
    env.reset()
    assert env.render() is None
    with pytest.raises(ValueError, match=r"^render_mode must be one of rgb_array, got 'human'$"):
        make("breakout", render_mode="human")
