"""How an agent is evaluated on one task: in games of its own, whose returns are worked out by hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils import seeding
from saved import leaves
from small_worlds import AGENTS as KINDS
from small_worlds import build
from stable_baselines3.common.vec_env import VecNormalize

import envs
from agents import PPO, StreamMonitor, VectorEnvAdapter
from agents.training_state import training_state
from crl.config import EvaluationConfig
from crl.ending import ObservationError
from crl.evaluation.playing import Episodes, play, seed_of, tasks_of
from envs.drifting import held
from envs.entries import tasks_from
from envs.shifts import layers_of

SEED = 11


class Count(gymnasium.Env[Any, Any]):
    """An episode of 1 to 5 steps, drawn when it begins; each is worth 2. It disturbs all generators."""

    observation_space: spaces.Space[Any] = spaces.Box(-100, 100, (1,), np.float32)
    action_space = spaces.Discrete(2)
    closed = 0

    def _observation(self) -> Any:
        return np.array([self._left], np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        random.random(), np.random.rand(), torch.rand(1)
        self._left = int(self.np_random.integers(1, 6))
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        self._left -= 1
        return self._observation(), 2.0, self._left == 0, False, {}

    def close(self) -> None:
        type(self).closed += 1


class Endless(Count):
    """Whose episodes last for ever, but for those that begin at 3 or less."""

    def step(self, action: Any) -> Any:
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, self._left == 0 and self._begun <= 3, truncated, info

    def reset(self, **arguments: Any) -> Any:
        found = super().reset(**arguments)
        self._begun = self._left
        return found


class Named(Count):
    """With observations by name."""

    observation_space = spaces.Dict({"left": Count.observation_space, "other": spaces.Discrete(3)})

    def _observation(self) -> Any:
        return {"left": super()._observation(), "other": 1}


def agent(world: Callable[[], Any] = Count, policy: str = "MlpPolicy", normalize: bool = False) -> PPO:
    games = envs.StreamVectorEnv(envs.TaskStream.build([envs.Task("count", world)], steps_per_task=None), 2)
    env: Any = VecNormalize(StreamMonitor(VectorEnvAdapter(games))) if normalize else games
    return PPO(policy, env, n_steps=8, batch_size=8, n_epochs=1, seed=5, device="cpu", policy_kwargs={"net_arch": [8]})


def lengths_of(game: int, episodes: int) -> list[int]:
    """Of the first episodes of a game."""
    generator, _ = seeding.np_random(SEED + game)
    return [int(generator.integers(1, 6)) for _ in range(episodes)]


def played(model: Any, world: Callable[[], Any] = Count, **settings: Any) -> Episodes:
    return play(model, envs.Task("count", world), SEED, EvaluationConfig(**settings))


@pytest.mark.parametrize(("episodes", "each"), [(1, [1]), (5, [1] * 5), (64, [1] * 64), (70, [2] * 6 + [1] * 58)])
def test_each_game_plays_as_many_episodes(episodes: int, each: list[int]) -> None:
    found = played(agent(), episodes=episodes)
    expected = [length for game, count in enumerate(each) for length in lengths_of(game, count)]
    assert sorted(found.lengths) == sorted(expected)
    assert found.returns == [2.0 * length for length in found.lengths]
    assert found.cut == 0


def test_episodes_that_do_not_end_are_cut() -> None:
    found = played(agent(Endless), Endless, episodes=8, limit=7)
    begun = [lengths_of(game, 1)[0] for game in range(8)]
    assert sorted(found.lengths) == sorted(length if length <= 3 else 7 for length in begun)
    assert found.cut == sum(length > 3 for length in begun) > 0
    assert found.returns == [2.0 * length for length in found.lengths]
    # A game whose episode was cut plays no more.
    more = played(agent(Endless), Endless, episodes=128, limit=7)
    assert more.cut > 30
    assert len(more.returns) < 128


def test_observations_by_name_are_played() -> None:
    assert played(agent(Named, "MultiInputPolicy", normalize=False), Named, episodes=3).lengths
    assert Named.closed > 0


def test_a_normalizer_is_used_as_it_is() -> None:
    model = agent(normalize=True)
    model.learn(16)
    normalizer = model.get_vec_normalize_env()
    assert normalizer is not None
    before = dict(leaves(training_state_of(model)))
    seen: list[Any] = []
    predict = model.predict
    model.predict = lambda observations, **given: seen.append(observations) or predict(observations, **given)  # type: ignore[method-assign,assignment,func-returns-value]
    played(model, episodes=2)
    first = np.array([[lengths_of(game, 1)[0]] for game in range(2)], np.float32)
    np.testing.assert_array_equal(seen[0], normalizer.normalize_obs(first))
    assert (seen[0] != first).all()
    assert dict(leaves(training_state_of(model))) == before


def training_state_of(model: Any) -> dict[str, Any]:
    """All of it but the games, which cannot be saved, and the clock's."""
    normalizer = model.get_vec_normalize_env()
    return {
        "statistics": vars(normalizer.obs_rms) | {"returns": normalizer.returns},
        "policy": model.policy.state_dict(),
        "last": model._last_obs,
    }


@pytest.mark.parametrize(("kind", "deterministic"), [*((kind, False) for kind in KINDS), ("ppo", True), ("sac", True)])
def test_nothing_of_a_learner_is_changed(kind: str, deterministic: bool) -> None:
    model = build(kind, [])
    model.learn(32)
    before = dict(leaves(training_state(model)))
    modes = [module.training for module in model.policy.modules()]
    task = model.env.get_attr("stream")[0].tasks[0]
    settings = EvaluationConfig(episodes=3, deterministic=deterministic, limit=40)
    one, other = (play(model, task, SEED, settings) for _ in range(2))
    assert one == other
    if not deterministic:
        assert any(play(model, task, SEED + more, settings) != one for more in range(1, 5))
    assert dict(leaves(training_state(model))) == before
    assert [module.training for module in model.policy.modules()] == modes


def test_stochastic_is_not_deterministic() -> None:
    model = build("ppo", [])
    task = model.env.get_attr("stream")[0].tasks[0]
    best, drawn = (
        play(model, task, SEED, EvaluationConfig(deterministic=deterministic)) for deterministic in (True, False)
    )
    assert best != drawn


def test_of_variants_some_are_drawn_with_the_seed_of_the_stream() -> None:
    entries = ["cartpole", {"id": "cartpole", "gravity": {"uniform": [5, 15]}, "variants": 30, "name": "heavy"}]
    tasks = [task for place, entry in enumerate(entries) for task in tasks_from(entry, place=place)[0]]
    stream = envs.TaskStream.build(tasks, steps_per_task=10)
    assert tasks_of(stream, 30, 0) == list(range(31))
    found = {seed: tasks_of(stream, 10, seed) for seed in range(3)}
    assert all(places[0] == 0 and len(set(places)) == 11 and places == sorted(places) for places in found.values())
    assert found[0] != found[1] != found[2]
    assert tasks_of(stream, 10, 1) == found[1]
    assert len({seed_of(seed, place) for seed in range(3) for place in range(31)}) == 93


def test_what_drifts_is_held_where_it_is() -> None:
    drift = {
        "gravity": {"kind": "linear", "start": 10.0, "end": 2.0, "steps": 100, "every": 10},
        "length": {"kind": "random_walk", "start": 0.5, "std": 0.1, "low": 0.2, "high": 0.9},
    }
    (task,), _ = tasks_from({"id": "cartpole", "drift": drift})
    assert held(tasks_from("cartpole")[0][0]).drift == {}
    assert [held(task, passed).drift["gravity"].value(77) for passed in (0, 9, 10, 50, 500)] == [10, 10, 9.2, 6, 2]
    stream = envs.TaskStream.build([task], steps_per_task=100, cycles=2)
    env = envs.StreamVectorEnv(stream, 1, seed=4)
    env.reset()
    for _ in range(130):
        env.step(np.zeros(1, np.int64))
    env._visit.drift(env.steps)  # to where it is in the step to come
    walked = held(task, 30, seed=4, segment=1).drift["length"].value(0)
    assert layers_of(env.games)[-1]._physics["length"] == walked != 0.5  # type: ignore[attr-defined]
    env.close()


class Broken(Count):
    """Its observations stop being numbers."""

    def _observation(self) -> Any:
        return np.full(1, np.nan, np.float32) if self._left < 3 else super()._observation()


def test_observations_that_are_not_finite_are_named_in_place_of_what_torch_says_of_logits() -> None:
    learner = agent()
    with pytest.raises(ObservationError, match=r"^an observation of task 'broken' is not finite$") as raised:
        play(learner, envs.Task("broken", Broken), SEED, EvaluationConfig(episodes=2, deterministic=False))
    assert isinstance(raised.value.__cause__, ValueError)
