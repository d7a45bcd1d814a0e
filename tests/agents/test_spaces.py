"""Spaces that SB3 misreads are refused in one sentence, and an agent goes on where its observations are held."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import DQN, PPO
from agents.spaces import check_playable, going_on_with

BOX = spaces.Box(-1, 1, (2,), np.float32)
TWO = spaces.Discrete(2)
LATE = spaces.Discrete(3, start=-1)


class World(gymnasium.Env[Any, Any]):
    def __init__(self, observations: spaces.Space[Any] = BOX, actions: spaces.Space[Any] = TWO) -> None:
        self.observation_space, self.action_space = observations, actions

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), 0.0, False, False, {}


OBSERVATIONS = {
    "start": (LATE, r"^SB3 counts from 0, unlike the observations Discrete\(3, start=-1\); shift them in a wrapper"),
    "starts": (spaces.MultiDiscrete([2, 3], start=[0, 1]), r"^SB3 counts from 0, .*TransformObservation\)$"),
    "part": (spaces.Dict({"a": BOX, "b": LATE}), r"^SB3 counts from 0, unlike the part 'b' of the observations"),
    "axes": (spaces.MultiDiscrete([[2, 3], [2, 2]]), r"^SB3 needs one axis, unlike the observations MultiDiscrete"),
    "no axis": (spaces.Box(-1, 1, ()), r"^SB3 needs an array of at least one number, unlike the observations Box"),
    "no number": (spaces.Box(-1, 1, (0,)), r"^SB3 needs an array of at least one number"),
    "text": (spaces.Text(3), r"^SB3 has no policy for the observations Text\(.*; give one array in a wrapper$"),
    "sequence": (spaces.Dict({"a": spaces.Sequence(BOX)}), r"^SB3 has no policy for the part 'a' of the observations"),
    "graph": (spaces.Graph(BOX, None), r"^SB3 has no policy for the observations Graph"),
}
ACTIONS = {
    "start": (LATE, r"^SB3 counts from 0, unlike the actions Discrete\(3, start=-1\); .*\.TransformAction\)$"),
    "starts": (spaces.MultiDiscrete([2, 3], start=[1, 1]), r"^SB3 counts from 0, unlike the actions"),
    "axes": (spaces.MultiDiscrete([[2, 3], [2, 2]]), r"^SB3 needs one axis, unlike the actions MultiDiscrete"),
}


@pytest.mark.parametrize("kind", OBSERVATIONS)
def test_observations_that_no_policy_reads(kind: str) -> None:
    space, sentence = OBSERVATIONS[kind]
    with pytest.raises(ValueError, match=sentence):
        check_playable(space, TWO)


@pytest.mark.parametrize("kind", ACTIONS)
def test_actions_that_would_be_played_out_of_range(kind: str) -> None:
    space, sentence = ACTIONS[kind]
    with pytest.raises(ValueError, match=sentence):
        check_playable(BOX, space)


def test_what_sb3_plays_passes() -> None:
    for observations in (BOX, TWO, spaces.MultiDiscrete([2, 3]), spaces.MultiBinary([2, 2]), spaces.Dict({"a": BOX})):
        for actions in (TWO, spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(3), spaces.Box(-1, 1, ())):
            check_playable(observations, actions)


@pytest.mark.parametrize("algorithm", [PPO, DQN])
def test_every_kind_of_environment_is_looked_at(algorithm: Any, tmp_path: Any) -> None:
    def make() -> World:
        return World(actions=LATE)

    batch = SyncVectorEnv([make], autoreset_mode=AutoresetMode.SAME_STEP)
    for env in (make(), DummyVecEnv([make]), batch):
        with pytest.raises(ValueError, match="SB3 counts from 0"):
            algorithm("MlpPolicy", env)
    model = algorithm("MlpPolicy", World())
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="SB3 counts from 0"):
        model.set_env(make())
    with pytest.raises(ValueError, match="SB3 counts from 0"):
        algorithm.load(tmp_path / "model", env=make())


def boxes(low: Any, high: Any, dtype: Any = np.float32) -> spaces.Box:
    return spaces.Box(low, high, (3, 4, 4), dtype)


PAIRS = {
    "wider": (boxes(-1, 1), boxes(-1, np.inf), True),
    "in a dict": (spaces.Dict({"a": boxes(-1, 1), "b": TWO}), spaces.Dict({"a": boxes(-2, 1), "b": TWO}), True),
    "the same": (boxes(-1, 1), boxes(-1, 1), False),
    "narrower": (boxes(-1, np.inf), boxes(-1, 1), False),
    "narrower on one side": (boxes(-1, 1), boxes(-2, 0.5), False),
    "of another type": (boxes(0, 1), boxes(0, 2, np.float64), False),
    "of another shape": (spaces.Box(0, 1, (2,)), spaces.Box(0, 2, (3,)), False),
    "an image": (boxes(0, 100, np.uint8), boxes(0, 255, np.uint8), False),
    "another key": (spaces.Dict({"a": boxes(0, 1)}), spaces.Dict({"b": boxes(0, 2)}), False),
    "discrete": (spaces.Discrete(2), spaces.Discrete(3), False),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_an_agent_goes_on_with_observations_that_hold_its_own(kind: str) -> None:
    own, world, goes_on = PAIRS[kind]
    if goes_on:
        with pytest.warns(UserWarning, match=r"^the agent's observations were .*; it goes on with the world's, "):
            assert going_on_with(own, world) is world
    else:
        assert going_on_with(own, world) is own
