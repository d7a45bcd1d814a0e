"""What learners forget at a revealed task switch."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from small_off_policy import logged, ours, state
from small_ppo import Pairs, assert_same, global_rng
from small_stream import Record, learner, settings, stream
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import VecNormalize

import envs
from agents import AGENTS, PPO
from agents.at_switch import AtSwitch
from agents.plasticity.protocols import NoDataError
from agents.vec_env import StreamMonitor, VectorEnvAdapter

# ------------------------------------------------------------------------------------------------ one by one


@pytest.mark.parametrize("agent", ["dqn", "sac", "td3"])
def test_replay_is_cleared_and_updates_wait_for_new_transitions(agent: str) -> None:
    record = Record(lambda model: (model.replay_buffer.size() * 2, model.optimizer_steps))
    learner(agent, at_switch={"replay": "clear"}).learn(96, callback=record)
    assert record.seen == {
        0: (0, 0), 8: (8, 0), 16: (16, 0), 24: (24, 1), 32: (32, 2), 40: (40, 3), 48: (48, 4), 56: (56, 5),
        64: (0, 6),  # the update that follows the switch is made with the transitions of the task that ended
        72: (8, 6), 80: (16, 6), 88: (24, 7), 96: (32, 8),
    }  # fmt: skip


def test_the_transitions_that_are_left_are_of_the_new_task() -> None:
    model = learner("dqn", at_switch={"replay": "clear"}).learn(112)
    buffer = model.replay_buffer
    assert buffer.pos == 24
    assert set(buffer.rewards[: buffer.pos].flatten().tolist()) <= {0.0, -1.0}  # 1.0 in the first task


def test_a_buffer_too_small_for_learning_starts_does_not_wait_for_ever() -> None:
    record = Record(lambda model: model.optimizer_steps)
    learner("dqn", at_switch={"replay": "clear"}, buffer_size=8).learn(96, callback=record)
    assert [record.seen[step] for step in (64, 72, 80)] == [6, 7, 8]


@pytest.mark.parametrize("kind", ["dqn-her", "sac-her"])
def test_episodes_of_hindsight_replay_are_cleared_with_their_transitions(kind: str) -> None:
    model = ours(kind).learn(44)  # 4 episodes and a part of one
    model._forget(AtSwitch(replay="clear"))
    with pytest.raises(NoDataError, match="is empty"):
        model.sample(4, torch.Generator())
    steps = model.optimizer_steps
    model.replay_buffer.observations["observation"].fill(np.nan)
    model.learn(16, reset_num_timesteps=False)
    assert model.optimizer_steps == steps
    model.learn(8, reset_num_timesteps=False)
    assert model.optimizer_steps == steps + 2
    batch = model.sample(20, torch.Generator().manual_seed(0))
    assert batch.observations["observation"].isfinite().all()  # none of them from before
    model.learn(4, reset_num_timesteps=False)  # 2 steps into an episode
    model.learning_starts, steps = 2, model.optimizer_steps  # less than an episode
    model._forget(AtSwitch(replay="clear"))
    model.learn(4, reset_num_timesteps=False)
    assert model.optimizer_steps == steps
    model.learn(8, reset_num_timesteps=False)
    assert model.optimizer_steps > steps


def test_epsilon_falls_once_more_as_it_did_at_first() -> None:
    record = Record(lambda model: model.exploration_rate)
    learner("dqn", at_switch={"exploration": "restart"}).learn(240, callback=record)

    def curve(steps: int) -> float:
        return max(0.05, 1.0 - 0.95 * steps / 120)

    # A switch at 60, 120 and 180 is forgotten in the updates at 64, 120 and 184.
    for began, until in ((0, 56), (64, 112), (120, 176), (184, 240)):
        for step in range(began + 8, until + 1, 8):
            assert record.seen[step] == pytest.approx(curve(step - began))
    for began in (64, 120, 184):
        assert record.seen[began] == 1.0


def test_sacs_entropy_coefficient_goes_back_to_where_it_began() -> None:
    record = Record(lambda model: model.log_ent_coef.item())
    model = learner("sac", at_switch={"exploration": "restart"}).learn(72, callback=record)
    assert record.seen[64] == record.seen[0] == pytest.approx(math.log(0.1))
    assert record.seen[56] != record.seen[0] != record.seen[72]
    assert model.ent_coef_optimizer.state  # which is kept
    from_one = learner("sac", at_switch={"exploration": "restart"}, ent_coef="auto").learn(64)
    assert from_one.log_ent_coef.item() == 0.0


def test_noise_with_a_memory_begins_anew() -> None:
    noise = OrnsteinUhlenbeckActionNoise(np.zeros(1), np.ones(1))
    record = Record(lambda model: [float(one.noise_prev[0]) for one in model.action_noise.noises])
    learner("sac", at_switch={"exploration": "restart"}, action_noise=noise).learn(72, callback=record)
    assert record.seen[64] == [0.0, 0.0]
    assert 0.0 not in record.seen[56]


@pytest.mark.parametrize("agent", ["dqn", "sac", "td3"])
def test_random_steps_follow_a_switch(agent: str) -> None:
    greedy = {"exploration_initial_eps": 0.0, "exploration_final_eps": 0.0} if agent == "dqn" else {}
    record = Record()
    learner(agent, at_switch={"random_steps": 20}, **greedy).learn(160, callback=record)
    expected = [*range(0, 16, 2), *range(64, 84, 2), *range(120, 140, 2)]
    assert record.random == [step for step in expected for _ in range(2)]


@pytest.mark.parametrize("agent", ["dqn", "sac", "ppo", "td3"])
def test_optimizers_forget(agent: str) -> None:
    def look(model: Any) -> list[int]:
        more = [model.ent_coef_optimizer] if agent == "sac" else []
        return [len(optimizer.state) for optimizer in (*model.optimizers, *more)]

    record = Record(look)
    model = learner(agent, at_switch={"optimizer": "reset"}).learn(80, callback=record)
    assert not any(record.seen[64])
    assert all(record.seen[48])
    assert all(record.seen[80])
    owner = model.critic if agent in ("sac", "td3") else model.policy
    assert {int(held["step"]) for held in owner.optimizer.state.values()} == {2}
    assert model.optimizer_steps > 2


@pytest.mark.parametrize("agent", ["dqn", "sac", "ppo"])
def test_normalisation_begins_anew(agent: str) -> None:
    def look(model: Any) -> tuple[Any, ...]:
        env = model._vec_normalize_env
        held = (env.obs_rms.count, env.obs_rms.mean.any(), env.ret_rms.count, env.ret_rms.var, env.returns.any())
        return held, model._last_obs.copy(), env.get_original_obs(), env.normalize_obs(env.get_original_obs())

    record = Record(look)
    learner(agent, normalized=True, at_switch={"normalizer": "reset"}).learn(96, callback=record)
    held, last, raw, renewed = record.seen[64]
    assert held == (1e-4, False, 1e-4, 1.0, False)
    assert np.array_equal(last, renewed)
    np.testing.assert_allclose(last, raw, rtol=1e-6)  # of mean 0 and variance 1
    held, last, _, renewed = record.seen[48]
    assert held[0] > 40
    assert np.array_equal(last, renewed) or agent == "ppo"
    assert record.seen[96][0][0] == pytest.approx(32, abs=0.1)


def test_normalisation_beneath_transposed_images_begins_anew() -> None:
    """SB3 puts images' channels first behind the normaliser."""
    gymnasium.register("small/Pairs-v0", Pairs)
    games = envs.make([{"id": "small/Pairs-v0"}] * 2, n_envs=2, steps_per_task=60, boundary="revealed")
    venv = VecNormalize(StreamMonitor(VectorEnvAdapter(games)), norm_obs_keys=["a vector"])
    given = {"n_steps": 8, "batch_size": 8, "n_epochs": 1, "policy_kwargs": {"net_arch": [4]}}
    model = PPO("MultiInputPolicy", venv, device="cpu", at_switch={"normalizer": "reset"}, **given).learn(64)
    assert model.switches_seen == 1
    assert model._vec_normalize_env.obs_rms["a vector"].count == 1e-4
    original = model._vec_normalize_env.get_original_obs()
    assert np.array_equal(model._last_obs["image"], original["image"].transpose(0, 3, 1, 2))
    np.testing.assert_allclose(model._last_obs["a vector"], original["a vector"], rtol=1e-6)
    model.learn(16, reset_num_timesteps=False)


def test_normalisation_of_rewards_alone_begins_anew() -> None:
    model = learner("dqn", at_switch={"replay": "clear"})
    model.set_env(VecNormalize(PPO._wrap_env(stream("dqn")), norm_obs=False))
    model._forget(AtSwitch(normalizer="reset"))
    assert model._vec_normalize_env.ret_rms.count == 1e-4


@pytest.mark.parametrize("agent", ["dqn", "sac", "ppo"])
def test_what_is_kept_is_kept(agent: str) -> None:
    """Without `at_switch`, and with `keep` throughout, it is as if nobody had told of the switches."""
    keys = ["optimizer", "normalizer"] + ([] if agent == "ppo" else ["replay", "exploration"])
    kept = {**dict.fromkeys(keys, "keep"), "random_steps": 0}
    plain, told = learner(agent).learn(144), learner(agent, at_switch=kept).learn(144)
    hidden = AGENTS[agent].resolve()("MlpPolicy", stream(agent, "hidden"), **settings(agent)).learn(144)
    assert_same(state(plain), state(told))
    assert_same(state(plain), state(hidden))
    assert (plain.switches_seen, hidden.switches_seen) == (2, 0)


def test_switches_are_logged() -> None:
    model = learner("dqn", at_switch={"random_steps": 4, "exploration": "restart"})
    rows = logged(model)
    model.learn(200, log_interval=1)
    model.dump_logs()
    counts = [values["task/switches"] for _, values in rows.rows]
    assert counts == sorted(counts)
    assert set(counts) >= {0, 3}
    assert model.switches_seen == 3
    plain = learner("dqn")
    rows = logged(plain)
    plain.learn(80, log_interval=1)
    assert not any("task/switches" in values for _, values in rows.rows)


# ------------------------------------------------------------------------------------------------ zips


ALL = {"replay": "clear", "exploration": "restart", "random_steps": 12, "optimizer": "reset", "normalizer": "reset"}


@pytest.mark.parametrize(
    ("agent", "steps"),
    [("sac", 56), ("dqn", 72), ("sac", 96)],
    ids=["before a switch", "while the buffer fills", "after it"],
)
def test_a_zip_keeps_what_to_forget_and_goes_on(agent: str, steps: int, tmp_path: Path) -> None:
    model = learner(agent, normalized=True, at_switch=ALL).learn(steps)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "replay")
    restore, space = global_rng(), model.action_space.np_random.bit_generator.state
    record = Record()
    uninterrupted = state(model.learn(80, reset_num_timesteps=False, callback=record))

    twin = learner(agent, normalized=True, at_switch=ALL).learn(steps)
    loaded = AGENTS[agent].resolve().load(tmp_path / "model", env=twin.env, device="cpu", force_reset=False)
    loaded.load_replay_buffer(tmp_path / "replay")
    assert loaded.at_switch == ALL
    restore()
    loaded.action_space.np_random.bit_generator.state = space
    again = Record()
    assert_same(state(loaded.learn(80, reset_num_timesteps=False, callback=again)), uninterrupted)
    assert again.random == record.random
    assert loaded.switches_seen == model.switches_seen > 0
    with pytest.raises(ValueError, match=r"^at_switch is .*, but this environment hides task switches"):
        AGENTS[agent].resolve().load(tmp_path / "model", env=stream(agent, "hidden"), device="cpu")
    kept = AGENTS[agent].resolve().load(tmp_path / "model", env=stream(agent, "hidden"), device="cpu", at_switch={})
    assert not kept.forgets.changes


def test_learning_from_step_0_starts_over() -> None:
    greedy = {"exploration_initial_eps": 0.6, "exploration_final_eps": 0.0, "exploration_fraction": 1.0}
    model = learner("dqn", at_switch={"random_steps": 40, "exploration": "restart"}, **greedy).learn(72)
    assert model._random_until == 104
    record = Record(lambda model: model.exploration_rate)
    model.learn(40, callback=record)
    assert record.seen[8] == pytest.approx(0.6 * (1 - 8 / 40))
    early = [step for step in record.random if step < 16]
    assert early == [step for step in range(0, 16, 2) for _ in range(2)]
    assert len(record.random) < 2 * 20  # not all of them random, as they would be until step 104


# ------------------------------------------------------------------------------------------------ refusals


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("dqn", {"memory": "clear"}, "at_switch has no key 'memory'; choose from replay, exploration, random_steps,"),
    ("dqn", {"replay": "reset"}, "at_switch.replay is 'reset'; give keep or clear"),
    ("sac", {"exploration": True}, "at_switch.exploration is True; give keep or restart"),
    ("sac", {"random_steps": -1}, "at_switch.random_steps is -1; give a whole number of steps of at least 0"),
    ("sac", {"random_steps": True}, "at_switch.random_steps is True; give a whole number of steps"),
    ("dqn", {"random_steps": 1.5}, "at_switch.random_steps is 1.5; give a whole number of steps"),
    ("ppo", {"optimizer": "clear"}, "at_switch.optimizer is 'clear'; give keep or reset"),
    ("ppo", {"replay": "clear"}, "at_switch.replay is 'clear', but PPO has nothing of the kind; leave it out"),
    ("ppo", {"exploration": "restart"}, "at_switch.exploration is 'restart', but PPO has nothing of the kind"),
    ("td3", {"exploration": "restart"}, "at_switch.exploration is 'restart', but no action noise has a memory; give"),
    ("ppo", {"random_steps": 3}, "at_switch.random_steps is 3, but PPO has nothing of the kind"),
    *(
        (agent, {"normalizer": "reset"}, "at_switch.normalizer is 'reset', but the environment has no normalizer; wrap")
        for agent in AGENTS
    ),
]


@pytest.mark.parametrize(("agent", "at_switch", "message"), REFUSED)
def test_the_impossible_is_refused(agent: str, at_switch: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        learner(agent, at_switch=at_switch)


def test_an_exploration_that_never_changes_cannot_begin_again() -> None:
    message = r"^at_switch.exploration is 'restart', but ent_coef is fixed at 0.3 and no action noise has a memory"
    for noise in (None, 0.1):
        with pytest.raises(ValueError, match=message):
            learner("sac", at_switch={"exploration": "restart"}, ent_coef=0.3, action_noise=noise)
    noise = OrnsteinUhlenbeckActionNoise(np.zeros(1), np.ones(1))
    learner("sac", at_switch={"exploration": "restart"}, ent_coef=0.3, action_noise=noise)
    learner("td3", at_switch={"exploration": "restart"}, action_noise={"name": "ornstein_uhlenbeck", "sigma": 0.1})


@pytest.mark.parametrize("agent", AGENTS)
def test_where_switches_are_hidden_nothing_can_be_forgotten(agent: str) -> None:
    cls = AGENTS[agent].resolve()
    message = r"^at_switch is \{'optimizer': 'reset'\}, but this environment hides task switches; make the stream with"
    for env in (stream(agent, "hidden"), "Pendulum-v1" if agent in ("sac", "td3") else "CartPole-v1"):
        with pytest.raises(ValueError, match=message):
            cls("MlpPolicy", env, **settings(agent), at_switch={"optimizer": "reset"})
    model = learner(agent, at_switch={"optimizer": "reset"})
    with pytest.raises(ValueError, match=message):
        model.set_env(stream(agent, "hidden"))
