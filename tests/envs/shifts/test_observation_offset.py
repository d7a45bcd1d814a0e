"""A constant on observations."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from shifted import Rewarding

from envs.games import SyncGames
from envs.shifts import ObservationOffset, VectorObservationOffset

OFFSET = [0.5, -2.0, 0.25, 3.0]


def _cartpole() -> gymnasium.Env:
    return gymnasium.make("CartPole-v1", disable_env_checker=True)


def test_offset_is_added_to_every_observation_and_changes_nothing_else() -> None:
    shifted, bare = ObservationOffset(_cartpole(), OFFSET), _cartpole()
    offset = np.array(OFFSET, np.float32)
    found, _ = shifted.reset(seed=3)
    expected, _ = bare.reset(seed=3)
    np.testing.assert_array_equal(found, expected + offset)
    actions = np.random.default_rng(0).integers(2, size=200)
    ends = 0
    for action in actions:
        found, *rest = shifted.step(action)
        expected, *bare_rest = bare.step(action)
        np.testing.assert_array_equal(found, expected + offset)
        assert rest == bare_rest
        if rest[1]:
            ends += 1
            np.testing.assert_array_equal(shifted.reset()[0], bare.reset()[0] + offset)
    assert ends >= 5


def test_offset_gives_one_unbounded_space_of_32_bit_floats() -> None:
    space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    assert ObservationOffset(_cartpole(), OFFSET).observation_space == space
    assert ObservationOffset(_cartpole(), np.zeros(4)).observation_space == space
    numbers = ObservationOffset(Rewarding(), [-1, 300])
    assert numbers.observation_space == gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    assert numbers.reset()[0].dtype == np.float32
    observation = numbers.step(0)[0]
    assert (observation.dtype, observation.tolist()) == (np.float32, [0.0, 300.0])


def test_one_number_is_for_all_entries() -> None:
    env = ObservationOffset(Rewarding(), 3)
    assert env.offset.tolist() == [3.0, 3.0]
    assert env.reset()[0].tolist() == [3.0, 3.0]


def test_the_twin_shifts_last_observations_too() -> None:
    games = VectorObservationOffset(SyncGames([Rewarding] * 2, "rewarding"), [10, -10])
    assert games.reset()[0].tolist() == [[10, -10], [10, -10]]
    for _ in range(3):
        games.step(np.array([0, 1]))
    observations, *_, info = games.step(np.array([0, 1]), np.array([False, True]))
    assert observations.tolist() == [[13, -10], [10, -10]]
    assert info["final_obs"][0] is None
    assert info["final_obs"][1].tolist() == [14, -9]
    assert info["final_obs"][1].dtype == np.float32


def test_a_changed_offset_counts_from_the_next_step() -> None:
    env = ObservationOffset(Rewarding(), [1, 2])
    env.reset()
    env.configure(offset=[3, 4])
    assert env.step(1)[0].tolist() == [4.0, 5.0]
    with pytest.raises(ValueError, match=r"^offset must have the observations' shape \(2,\), got \[1\] of \(1,\)"):
        env.configure(offset=[1])
    assert env.step(1)[0].tolist() == [5.0, 5.0]


def test_offset_knows_its_own_state() -> None:
    env = ObservationOffset(_cartpole(), OFFSET)
    state = env.get_state()
    np.testing.assert_array_equal(state["arguments"]["offset"], np.array(OFFSET, np.float32))
    env.set_state(state)
    with pytest.raises(
        ValueError,
        match=r"^a state with the offset \[0.5, -2.0, 0.25, 3.0\] of ObservationOffset cannot be set on one with "
        r"\[0.0, 0.0, 0.0, 0.0\]; make the environment",
    ):
        ObservationOffset(_cartpole(), np.zeros(4)).set_state(state)


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        ([1.0, 2.0], r"offset must have the observations' shape \(4,\), got \[1.0, 2.0\] of \(2,\); give as many"),
        ([[1.0], [2.0, 3.0]], r"offset must be numbers of shape \(4,\), got \[\[1.0\], \[2.0, 3.0\]\]; give as many"),
        ([1.0, 2.0, 3.0, np.nan], r"offset must be finite numbers, got \[1.0, 2.0, 3.0, nan\]; give as many"),
        (np.inf, r"offset must be finite numbers, got .*inf"),
        ([1.0, 2.0, 3.0, 1e39], "offset must be finite numbers, got .*1e[+]39"),
        (["1", "2", "3", "4"], "offset must be finite numbers, got .*'4'"),
        ([True] * 4, "offset must be finite numbers, got .*True"),
        (True, r"offset must be finite numbers, got True; give as many"),
        ([None] * 4, "offset must be finite numbers, got .*None"),
    ],
)
def test_offset_refuses_what_is_no_observation(offset: Any, message: str) -> None:
    for refused in (
        lambda: ObservationOffset(_cartpole(), offset),
        lambda: VectorObservationOffset(SyncGames([_cartpole], "cartpole"), offset),
    ):
        with pytest.raises(ValueError, match=f"^{message}") as refusal:
            refused()
        assert "\n" not in str(refusal.value)


def test_offset_needs_arrays() -> None:
    env = Rewarding()
    env.observation_space = gymnasium.spaces.Discrete(500)
    with pytest.raises(ValueError, match=r"needs observations in a Box, got Discrete\(500\); flatten them first"):
        ObservationOffset(env, [0.0])
