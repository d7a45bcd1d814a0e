"""Streams whose tasks drift: values worked out by hand, segments that begin anew, states in the middle."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from shifted import assert_same, random_actions, through_json

from envs.drift import RandomWalk
from envs.making import make
from envs.state import copied
from envs.vector import StreamVectorEnv

LINEAR = {"kind": "linear", "start": 0, "end": 10, "steps": 8}
SINE = {"kind": "sinusoidal", "mean": 1.0, "amplitude": 0.5, "period": 8}
WALK = {"kind": "random_walk", "start": 5.0, "std": 1.0, "low": 0.0, "high": 10.0}


class Pushed(gymnasium.Env[Any, Any]):
    """Observes the force that is in force and the steps of the episode, and gives the force as a reward."""

    observation_space = gymnasium.spaces.Box(-100, 100, (2,), np.float64)
    action_space = gymnasium.spaces.Discrete(2)
    steps = 0

    def __init__(self, force: float = -1.0, length: int = 1000) -> None:
        self.force, self.length = force, length

    def configure(self, force: float) -> None:
        if force < 0:
            raise ValueError(f"force must be at least 0, got {force}")
        self.force = force

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return np.array([self.force, 0.0]), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return np.array([self.force, self.steps]), self.force, self.steps == self.length, False, {}


class SavedPushed(Pushed):
    def get_state(self) -> dict[str, Any]:
        return {"force": self.force, "steps": self.steps}

    def set_state(self, state: dict[str, Any]) -> None:
        self.force, self.steps = state["force"], state["steps"]


@pytest.fixture(autouse=True)
def users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers ``Pushed-v0`` and ``SavedPushed-v0``."""
    for world in (Pushed, SavedPushed):
        id = f"{world.__name__}-v0"
        monkeypatch.setitem(gymnasium.registry, id, EnvSpec(id, entry_point=world))


def pushed(schedule: dict[str, Any], *, id: str = "SavedPushed-v0", **arguments: Any) -> StreamVectorEnv:
    """Two games whose force drifts so."""
    return make({"id": id, "drift": {"force": schedule}}, n_envs=2, **{"seed": 3, **arguments})


def forces(env: StreamVectorEnv, n_steps: int) -> list[float]:
    """The first of each step's rewards; both games have the same."""
    found = [env.step(np.zeros(2, np.int64))[1] for _ in range(n_steps)]
    assert all(rewards[0] == rewards[1] for rewards in found)
    return [float(rewards[0]) for rewards in found]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (LINEAR, [0, 2.5, 5, 7.5, 10, 10]),
        (LINEAR | {"every": 4}, [0, 0, 5, 5, 10, 10]),
        (LINEAR | {"every": 3}, [0, 0, 3.75, 7.5, 7.5, 10]),  # at the steps 0, 2, 4, 6, 8, 10
        (LINEAR | {"start": 10, "end": 0}, [10, 7.5, 5, 2.5, 0, 0]),
        (SINE, [1.0, 1.5, 1.0, 0.5, 1.0, 1.5]),
    ],
)
def test_values_of_each_step(schedule: dict[str, Any], expected: list[float]) -> None:
    """A batch step of two games is two steps; what a step meets is the value at its beginning."""
    env = pushed(schedule)
    observations, _ = env.reset()
    assert observations[:, 0].tolist() == [expected[0]] * 2  # set before the first observation
    assert forces(env, 6) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("id", ["Pushed-v0", "SavedPushed-v0"])
def test_every_segment_begins_anew(id: str) -> None:
    env = pushed(LINEAR, id=id, steps_per_task=6, cycles=3)
    env.reset()
    found = []
    for _ in range(3):
        found.append([])
        for _ in range(3):
            observations, rewards, *_, info = env.step(np.zeros(2, np.int64))
            found[-1].append(float(rewards[0]))
        assert observations[0, 0] == (5 if info["segment"][0] == 2 and not info["task_switched"][0] else 0)
        if info["task_switched"][0]:
            assert info["final_obs"][0].tolist() == [5, 3]  # of the old segment
    assert found == [[0, 2.5, 5]] * 3
    assert forces(env, 3) == [7.5, 10, 10]  # the last one goes on
    env.reset()  # episodes begin anew, and the drift goes on
    assert forces(env, 1) == [10]
    observations, _ = env.reset(seed=4)
    assert (observations[0].tolist(), forces(env, 2)) == ([0, 0], [0, 2.5])


def test_episodes_do_not_begin_a_drift_anew() -> None:
    env = make({"id": "SavedPushed-v0", "length": 2, "drift": {"force": LINEAR}}, n_envs=2, seed=0)
    env.reset()
    assert forces(env, 4) == [0, 2.5, 5, 7.5]
    observations, *_ = env.step(np.zeros(2, np.int64))
    assert observations.tolist() == [[10, 1], [10, 1]]


def walk_of(stream_seed: int, segment: int, **schedule: Any) -> list[float]:
    """The walk of a segment: its seed comes from the stream's, the segment and the drift's place."""
    (own,) = np.random.SeedSequence((stream_seed, segment), spawn_key=(1, 0)).generate_state(1)
    walk = RandomWalk(**{key: value for key, value in (WALK | schedule).items() if key != "kind"}).begin(int(own))
    return [walk.value(step) for step in range(0, 8, 2)]


def test_every_segment_has_a_random_walk_of_its_own() -> None:
    env = pushed(WALK, steps_per_task=8, cycles=3)
    env.reset()
    found = [forces(env, 4) for _ in range(3)]
    assert found == [walk_of(3, segment) for segment in range(3)]
    assert len({str(walk) for walk in found}) == 3
    assert all(walk[0] == 5 for walk in found)
    env.reset(seed=9)
    assert forces(env, 4) == walk_of(9, 0) != found[0]
    env.reset(seed=3)
    assert [forces(env, 4) for _ in range(3)] == found


def test_a_walk_with_a_seed_is_the_same_in_every_segment() -> None:
    env = pushed(WALK | {"seed": 11}, steps_per_task=8, cycles=2)
    env.reset()
    assert forces(env, 4) == forces(env, 4) == walk_of(0, 0, seed=11)


def test_arguments_of_shifts_drift() -> None:
    shifts = [{"name": "reward_scale", "scale": 7.0}, {"name": "observation_offset", "offset": 9.0}]
    drift = {"reward_scale.scale": LINEAR | {"start": 1}, "observation_offset.offset": LINEAR, "force": LINEAR}
    env = make({"id": "SavedPushed-v0", "shifts": shifts, "drift": drift}, n_envs=2, steps_per_task=6, cycles=2, seed=0)
    assert env.task == (
        "SavedPushed-v0+reward_scale(scale=7.0)+observation_offset(offset=9.0)~reward_scale.scale"
        "~observation_offset.offset~force"
    )
    first, _ = env.reset()
    assert first[0].tolist() == [0, 0]
    for _ in range(2):
        seen, rewards = [], []
        for _ in range(3):
            observations, reward, *_, info = env.step(np.zeros(2, np.int64))
            seen.append((info["final_obs"] if info["task_switched"][0] else observations)[0].tolist())
            rewards.append(float(reward[0]))
        assert rewards == [0, 2.5 * 3.25, 5 * 5.5]
        assert seen == [[0, 1], [2.5 + 2.5, 2 + 2.5], [5 + 5, 3 + 5]]


def test_of_two_shifts_with_one_name_none_can_drift() -> None:
    shifts = [{"name": "observation_offset", "offset": offset} for offset in (1.0, 2.0)]
    entry = {"id": "SavedPushed-v0", "force": 0.0, "shifts": shifts}
    assert make(entry, seed=0).reset()[0][0, 0] == 3
    with pytest.raises(ValueError, match="has the shift 'observation_offset' twice; list it once"):
        make(entry | {"drift": {"observation_offset.offset": LINEAR}})


def test_a_shift_drifts_in_its_own_arguments_alone() -> None:
    drift = {"reward_sign.force": LINEAR}
    with pytest.raises(ValueError, match="the shift 'reward_sign' takes no argument 'force', only sign; give another"):
        make({"id": "SavedPushed-v0", "shifts": ["reward_sign"], "drift": drift})


# ---------------------------------------------------------------------- state

SHIFTS = [
    "pixel_permutation",
    {"name": "observation_noise", "std": 0.5},
    {"name": "sticky_actions", "probability": {"uniform": [0.2, 0.8]}},
    {"name": "reward_scale", "scale": {"log_uniform": [0.1, 10]}},
]
SHIFT_DRIFT = {
    "observation_noise.std": {"kind": "random_walk", "start": 0.5, "std": 0.2, "low": 0, "high": 1, "every": 5},
    "sticky_actions.probability": {"kind": "linear", "start": 0, "end": 1, "steps": 30},
}
WORLDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "minatar": (
        {"id": "asterix", "episode_limit": 7},
        {"sticky_prob": {"kind": "linear", "start": 0, "end": 1, "steps": 40}},
    ),
    "cartpole": (
        {"id": "cartpole", "episode_limit": 9},
        {
            "gravity": {"kind": "sinusoidal", "mean": 9.8, "amplitude": 8, "period": 20},
            "length": {"kind": "random_walk", "start": 0.5, "std": 0.1, "low": 0.1, "high": 2, "every": 3},
        },
    ),
    "pendulum": ({"id": "pendulum"}, {"gravity": {"kind": "sinusoidal", "mean": 10, "amplitude": 8, "period": 33}}),
    "mujoco": (
        {"id": "hopper", "mass": {"uniform": [0.8, 1.2]}},
        {
            "friction": {"kind": "sinusoidal", "mean": 1.0, "amplitude": 0.9, "period": 20},
            "gravity": {"kind": "random_walk", "start": 9.81, "std": 1.0, "low": 5, "high": 15},
        },
    ),
    "user": ({"id": "SavedPushed-v0", "length": 5}, {"force": WALK}),
}


def drifting(world: str, seed: int = 5) -> StreamVectorEnv:
    """Three variants, each visited for ten batch steps of three games."""
    entry, drift = WORLDS[world]
    given = entry | {"shifts": SHIFTS, "variants": 3, "drift": drift | SHIFT_DRIFT}
    return make(given, n_envs=3, steps_per_task=30, seed=seed, stream_seed=5)


def trace(env: StreamVectorEnv, actions: list[Any]) -> list[Any]:
    return [copied(env.step(batch)) for batch in actions]


@pytest.mark.parametrize("at", [0, 4, 10, 17])
@pytest.mark.parametrize("world", WORLDS)
def test_a_state_continues_exactly(world: str, at: int) -> None:
    if world == "mujoco":
        pytest.importorskip("mujoco", reason="needs the extra mujoco")
    env = drifting(world)
    actions = random_actions(env, 36)  # type: ignore[arg-type]
    first, _ = env.reset()
    begun = trace(env, actions[:at])
    state = through_json(env.get_state())
    expected = trace(env, actions[at:])
    fresh, used = drifting(world, seed=77), drifting(world, seed=77)
    used.reset()
    trace(used, actions[:23])
    for other in (fresh, used, env):
        other.set_state(state)
        assert (other.steps, other.segment.index) == (3 * at, at // 10)
        assert_same(trace(other, actions[at:]), expected)
    again, _ = used.reset(seed=5)
    assert_same(again, first)
    assert_same(trace(used, actions), begun + expected)


def test_games_that_cannot_be_saved_go_on_with_their_drift() -> None:
    env, other = (pushed(WALK, id="Pushed-v0", steps_per_task=8, cycles=2) for _ in range(2))
    env.reset()
    forces(env, 6)
    env.rebuild(12)
    observations, _ = env.reset()
    walk = walk_of(3, 1)
    assert observations[0].tolist() == [walk[2], 0]
    other.set_state(through_json(env.get_state()))
    assert forces(env, 2) == forces(other, 2) == walk[2:]


def test_a_state_of_another_schedule_is_refused() -> None:
    env = pushed(LINEAR)
    env.reset()
    with pytest.raises(
        ValueError, match=r"^a state of task 'SavedPushed-v0~force' with .*'end': 10.* cannot be set on"
    ):
        pushed(LINEAR | {"end": 9}).set_state(env.get_state())


def test_unsaved_games_are_not_touched_by_a_drift_that_was_checked() -> None:
    """The extremes are tried on a game of its own."""
    env = pushed(LINEAR | {"start": 3})
    assert env.reset()[0][0, 0] == 3
    with pytest.raises(ValueError, match=r"^drift of 'force' in task 'SavedPushed-v0~force' to -1: force must be at"):
        pushed(LINEAR | {"end": -1})
