"""Gymnasium's vector environments behind SB3's interface."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecMonitor, VecNormalize

import envs
from agents import PPO, StreamMonitor, VectorEnvAdapter
from envs.games import SyncGames


def cartpole() -> gymnasium.Env:
    return TimeLimit(gymnasium.make("CartPole-v1").unwrapped, 15)


def sync(n_envs: int = 3) -> SyncVectorEnv:
    return SyncVectorEnv([cartpole] * n_envs, autoreset_mode=AutoresetMode.SAME_STEP)


def test_it_steps_as_sb3s_own_vectorisation_does() -> None:
    ours, stock = VectorEnvAdapter(sync()), DummyVecEnv([cartpole] * 3)
    ours.seed(7), stock.seed(7)
    assert np.array_equal(ours.reset(), stock.reset())
    rng, ends = np.random.default_rng(0), 0
    for _ in range(60):
        actions = rng.integers(2, size=3)
        (o1, r1, d1, i1), (o2, r2, d2, i2) = ours.step(actions), stock.step(actions)
        assert np.array_equal(o1, o2)
        assert np.array_equal(r1, r2)
        assert r1.dtype == r2.dtype
        assert np.array_equal(d1, d2)
        for mine, theirs in zip(i1, i2, strict=True):
            assert mine.keys() == theirs.keys()
            assert mine["TimeLimit.truncated"] is theirs["TimeLimit.truncated"]
            if "terminal_observation" in theirs:
                ends += 1
                assert np.array_equal(mine["terminal_observation"], theirs["terminal_observation"])
    assert ends >= 10


def test_observations_do_not_change_under_the_callers_hands() -> None:
    env = VectorEnvAdapter(SyncVectorEnv([cartpole] * 2, copy=False, autoreset_mode=AutoresetMode.SAME_STEP))
    env.seed(0)
    first = env.reset()
    kept = first.copy()
    env.step(np.array([0, 1]))
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_another_autoreset_is_refused(mode: AutoresetMode) -> None:
    with pytest.raises(ValueError, match=r"SB3 needs AutoresetMode\.SAME_STEP; make it with"):
        VectorEnvAdapter(SyncVectorEnv([cartpole], autoreset_mode=mode))


def test_attributes_of_the_stream_and_of_its_games() -> None:
    stream = VectorEnvAdapter(envs.make("breakout", n_envs=3, boundary="revealed"))
    assert stream.get_attr("boundary") == ["revealed"] * 3
    assert stream.get_attr("boundary", indices=[1]) == ["revealed"]
    assert stream.get_attr("episode_limit") == [2500] * 3
    assert [space.shape for space in stream.get_attr("observation_space")] == [(10, 10, 10)] * 3
    assert [space.shape for space in stream.get_attr("action_space")] == [()] * 3
    with pytest.raises(AttributeError, match="all at once, 'get_state' cannot be reached in one"):
        stream.env_method("get_state", indices=1)
    one_by_one = VectorEnvAdapter(envs.make("pendulum", n_envs=3))
    one_by_one.reset()
    assert one_by_one.env_method("get_state", indices=1)[0]["world"] == "Pendulum"
    assert stream.render_mode is None
    assert not stream.has_attr("nonsense")
    assert stream.env_is_wrapped(TimeLimit) == [False] * 3


def test_attributes_and_methods_of_chosen_games() -> None:
    games = VectorEnvAdapter(sync())
    games.reset()
    assert games.get_attr("force_mag") == [10.0] * 3
    games.set_attr("force_mag", 3.0, indices=[0, 2])
    assert games.get_attr("force_mag") == [3.0, 10.0, 3.0]
    games.env_method("reset", seed=5, indices=[1])
    assert [game.unwrapped.np_random_seed == 5 for game in games.venv.envs] == [False, True, False]
    assert games.env_method("has_wrapper_attr", "force_mag", indices=[0, 2]) == [True, True]
    assert games.env_is_wrapped(TimeLimit) == [True] * 3
    assert games.env_is_wrapped(Monitor, indices=[0]) == [False]


def test_ppo_takes_a_vector_environment_and_monitors_it() -> None:
    model = PPO("MlpPolicy", sync(), n_steps=16, batch_size=16)
    assert isinstance(model.env, StreamMonitor)
    assert isinstance(model.env.venv, VectorEnvAdapter)
    stock = PPO("MlpPolicy", make_vec_env(cartpole, n_envs=2), n_steps=16, batch_size=16)
    assert not isinstance(stock.env, StreamMonitor)


class Numbered(gymnasium.Wrapper):
    """Says in every info which episode it is, as SB3 says what an episode has come to."""

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {**info, "episode": 7, "own": 8}


@pytest.mark.parametrize("between", [lambda env: env, lambda env: VecFrameStack(env, 2)])
def test_what_games_call_an_episode_is_none_that_has_ended(between: Any) -> None:
    games = SyncVectorEnv([lambda: Numbered(cartpole())] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    env = StreamMonitor(between(VectorEnvAdapter(games)))
    env.seed(0)
    env.reset()
    ends = 0
    for _ in range(40):
        _, _, dones, infos = env.step(np.zeros(2, int))
        assert [info["own"] for info in infos] == [8, 8]
        assert [type(info.get("episode")) for info in infos] == [dict if done else type(None) for done in dones]
        ends += dones.sum()
    assert ends > 4
    PPO("MlpPolicy", games, n_steps=32, batch_size=32, n_epochs=1).learn(64)


def test_episodes_cut_by_a_switch_enter_no_statistics() -> None:
    stream = envs.make(["freeway", "breakout"], n_envs=2, steps_per_task=60, cycles=2, seed=0)
    env = StreamMonitor(VectorEnvAdapter(stream))
    env.reset()
    told, cut = [], 0
    for step in range(1, 121):
        _, rewards, dones, infos = env.step(np.zeros(2, int))
        assert len(infos) == len(rewards) == 2
        switch = step in (30, 60, 90)
        assert [info["task_switched"] for info in infos] == [switch] * 2
        # the transition's own task, also in the step that switches
        assert infos[0]["task"] == ("freeway", "breakout")[(step - 1) // 30 % 2]
        assert infos[0]["segment"] == min((step - 1) // 30, 3)
        for done, info in zip(dones, infos, strict=True):
            assert ("terminal_observation" in info) == done
            if switch:
                assert done
            if info.get("cut_by_switch"):
                cut += 1
                assert switch
                assert info["TimeLimit.truncated"]
                assert "episode" not in info
            elif done:
                told.append(info["episode"]["l"])
    # a freeway episode lasts 2,500 steps: both games were cut at 30 and at 90
    assert cut >= 4
    assert told
    assert all(length <= 30 for length in told)
    assert isinstance(env, VecMonitor)
    assert env.unwrapped.reset_infos[0]["task"] == "breakout"


def test_every_info_is_a_dict_of_its_own() -> None:
    env = VectorEnvAdapter(envs.make("freeway", n_envs=2, seed=0))
    env.reset()
    infos = [env.step(np.zeros(2, int))[3] for _ in range(2)]
    infos[0][0]["mine"] = infos[0][0].pop("task")
    assert "mine" not in infos[0][1]
    assert [info["task"] for info in (infos[0][1], *infos[1], *env.step(np.zeros(2, int))[3])] == ["freeway"] * 5


class Saying(gymnasium.Env):
    """Says one of its values in every step, and observes an array that it writes to."""

    observation_space = gymnasium.spaces.Box(-9, 9, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, *values: Any) -> None:
        self.values, self.place = values, np.zeros(1, np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        self.steps = 0
        self.place[:] = 0
        return self.place, {}

    def step(self, action: int) -> tuple:
        self.steps += 1
        self.place += 1
        return self.place, 0.0, self.steps == len(self.values), False, {"x": self.values[self.steps - 1]}


SAID = [
    (1, None),
    (np.zeros(2), np.ones(3)),
    (1, {"k": 2}),
    (0, 0.75),
    (False, 0.75),
    (np.float32(0.1), "a"),
    ({}, [1]),
]


def test_infos_are_those_of_sb3s_own_vectorisation() -> None:
    games = [lambda: Saying(*(one for one, _ in SAID)), lambda: Saying(*(other for _, other in SAID))]
    ours, stock = VectorEnvAdapter(SyncGames(games, "saying")), DummyVecEnv(games)
    ours.reset(), stock.reset()
    for _ in SAID:
        *_, dones, found = ours.step(np.zeros(2, int))
        *_, expected = stock.step(np.zeros(2, int))
        for mine, theirs in zip(found, expected, strict=True):
            assert type(mine["x"]) is type(theirs["x"])
            np.testing.assert_equal(mine["x"], theirs["x"])
    # SB3's own would say 0: the game has begun another episode in the same array.
    assert [(done, info["terminal_observation"].tolist()) for done, info in zip(dones, found, strict=True)] == (
        [(True, [len(SAID)])] * 2
    )


def test_the_helpers_of_sb3_take_an_adapted_stream() -> None:
    def world() -> StreamMonitor:
        return StreamMonitor(VectorEnvAdapter(envs.make({"id": "cartpole", "episode_limit": 20}, n_envs=2, seed=0)))

    model = PPO("MlpPolicy", world(), n_steps=16, batch_size=16)
    rewards, lengths = evaluate_policy(model, world(), n_eval_episodes=4, return_episode_rewards=True)
    assert rewards == lengths
    assert len(lengths) == 4
    callback = EvalCallback(world(), n_eval_episodes=2, eval_freq=16, verbose=0)
    model.learn(32, callback=callback)
    assert 0 < callback.last_mean_reward <= 20
    assert VecNormalize(world()).reset().shape == (2, 4)
    assert VecFrameStack(world(), 3).reset().shape == (2, 12)


class Fuel(SyncVectorEnv):
    """Tells in every step how much is left, by a read-only view of memory that it writes to."""

    def step(self, actions: Any) -> Any:
        self.left = getattr(self, "left", np.full(self.num_envs, 9.0))
        self.left -= 1
        view = self.left[:]
        view.flags.writeable = False
        yes = np.ones(self.num_envs, bool)
        yes.flags.writeable = False
        *rest, _ = super().step(actions)
        return *rest, {"fuel": view, "_fuel": yes}


def test_a_view_of_memory_that_changes_is_read_in_every_step() -> None:
    env = VectorEnvAdapter(Fuel([cartpole] * 2, autoreset_mode=AutoresetMode.SAME_STEP))
    env.reset()
    assert [env.step(np.zeros(2, int))[3][1]["fuel"] for _ in range(3)] == [8, 7, 6]


class Scaled(gymnasium.Env):
    """Rewards of a tenth; the info of an episode's end says what they came to before."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, tells: bool = True) -> None:
        self.tells = tells

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple:
        self.steps += 1
        ends = self.steps == 3
        info = {"unscaled_return": 30.123456789} if ends and self.tells else {}
        return np.zeros(1, np.float32), 1.0, ends, False, info


@pytest.mark.parametrize(("tells", "expected"), [(True, 30.123456789), (False, 3.0)])
def test_returns_are_those_before_rewards_were_scaled(tells: bool, expected: float) -> None:
    games = SyncVectorEnv([lambda: Scaled(tells)] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    env = StreamMonitor(VectorEnvAdapter(games))
    env.reset()
    told = []
    for _ in range(7):
        _, rewards, _, infos = env.step(np.zeros(2, int))
        assert rewards.tolist() == [1.0, 1.0]
        told += [(info["episode"]["r"], info["episode"]["l"]) for info in infos if "episode" in info]
    assert told == [(pytest.approx(expected, abs=1e-6), 3)] * 4


def test_a_seed_is_used_once() -> None:
    env = VectorEnvAdapter(sync(2))
    env.seed(3)
    first = env.reset()
    assert not np.array_equal(first, env.reset())
    env.seed(3)
    assert np.array_equal(first, env.reset())
