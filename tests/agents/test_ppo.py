"""`agents.PPO` without interventions is Stable-Baselines3's, tensor by tensor; and what it samples."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import TimeLimit, TransformObservation
from small_ppo import assert_same, build, parameters, world
from stable_baselines3 import PPO as StockPPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

import envs
from agents import PPO
from agents.plasticity import Intervention


def like(model: PPO) -> dict:
    """Arguments that make stock SB3 build the same network."""
    return {"policy_kwargs": model.policy_kwargs}


def assert_same_log(ours: PPO, stock: StockPPO) -> None:
    """All that SB3 logs of its last update, to the last bit."""
    ours_log, stock_log = ours.logger.name_to_value, stock.logger.name_to_value
    assert ours_log.keys() == stock_log.keys()
    assert {tag: ours_log[tag] for tag in ours_log} == {tag: stock_log[tag] for tag in ours_log}
    assert len([tag for tag in ours_log if tag.startswith("train/")]) >= 9


def test_training_gives_sb3s_parameters(kind: str) -> None:
    ours = build(kind).learn(256)
    stock = build(kind, StockPPO, **like(ours)).learn(256)
    assert_same(parameters(ours), parameters(stock))
    untrained = parameters(build(kind))
    assert any(not torch.equal(untrained[name], tensor) for name, tensor in parameters(ours).items())
    assert_same_log(ours, stock)


OPTIONS = {
    "schedules": {"learning_rate": lambda left: 1e-3 * left, "clip_range": lambda left: 0.3 * left},
    "clipped values": {"clip_range_vf": 0.1},
    "early stop": {"target_kl": 1e-5, "learning_rate": 1e-2},
    "plain advantages": {"normalize_advantage": False, "ent_coef": 0.02, "vf_coef": 0.7, "max_grad_norm": 0.1},
    "odd minibatches": {"batch_size": 24},
}


@pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")
@pytest.mark.parametrize("option", OPTIONS)
def test_options_give_sb3s_parameters(option: str) -> None:
    ours = build("mlp", **OPTIONS[option]).learn(256)
    stock = build("mlp", StockPPO, **OPTIONS[option]).learn(256)
    assert_same(parameters(ours), parameters(stock))
    assert_same_log(ours, stock)
    assert ours._n_updates == stock._n_updates
    steps = {int(state["step"]) for state in ours.policy.optimizer.state.values()}
    assert steps == {ours.gradient_steps}


def test_training_on_a_stream_gives_what_sb3_gives_on_the_games_themselves() -> None:
    """Our games, our vector environment and our PPO against minatar's own environments, DummyVecEnv and SB3."""
    import minatar.gym

    minatar.gym.register_envs()
    space = gymnasium.spaces.Box(0.0, 1.0, (10, 10, 10), dtype=bool)

    def game() -> gymnasium.Env:
        env = TimeLimit(gymnasium.make("MinAtar/Breakout-v0", disable_env_checker=True), 2500)
        return TransformObservation(env, lambda board: np.pad(board, ((0, 0), (0, 0), (0, 6))), space)

    settings = {"n_steps": 32, "batch_size": 32, "n_epochs": 2, "seed": 4, "device": "cpu"}
    ours = PPO("CnnPolicy", envs.make("breakout", n_envs=4), **settings).learn(512)
    stock = StockPPO("CnnPolicy", make_vec_env(game, n_envs=4), policy_kwargs=ours.policy_kwargs, **settings).learn(512)
    assert_same(parameters(ours), parameters(stock))
    assert [e["r"] for e in ours.ep_info_buffer] == [e["r"] for e in stock.ep_info_buffer]


def test_a_zip_goes_both_ways_and_training_goes_on_the_same(kind: str, tmp_path: Path) -> None:
    ours = build(kind).learn(128)
    stock = build(kind, StockPPO, **like(ours)).learn(128)
    ours.save(tmp_path / "ours")
    stock.save(tmp_path / "stock")
    trained = []
    for cls, name in ((PPO, "ours"), (PPO, "stock"), (StockPPO, "ours"), (StockPPO, "stock")):
        model = cls.load(tmp_path / name, env=world(kind), device="cpu")
        assert_same(parameters(model), parameters(ours))
        trained.append(parameters(model.learn(128)))
    for other in trained[1:]:
        assert_same(trained[0], other)


def test_normalised_observations_and_rewards_give_sb3s_parameters() -> None:
    trained = []
    for cls in (PPO, StockPPO):
        model = build("mlp", cls)
        model.set_env(VecNormalize(model.env))
        trained.append(parameters(model.learn(128)))
    assert_same(*trained)


def test_samples_are_the_rollouts_own_transitions() -> None:
    model = build("board", n_epochs=1)
    generator = torch.Generator().manual_seed(2)

    class Look(Intervention):
        def after_update(self) -> None:
            self.late = model.sample(10, torch.Generator().manual_seed(2))

    from stable_baselines3.common.callbacks import BaseCallback

    class Early(BaseCallback):
        def _on_rollout_end(self) -> None:
            self.sample = model.sample(10, generator)
            self.whole = model.sample(10**6, generator)

        def _on_step(self) -> bool:
            return True

    early, look = Early(), Look()
    model.interventions = [look]
    model.learn(64, callback=early)
    # before SB3 flattens the rollout, and after it has: the same transitions
    for before, after in zip(early.sample, look.late, strict=True):
        assert torch.equal(before, after)
    assert len(early.whole.actions) == 64
    assert sorted(early.whole.returns.tolist()) == sorted(model.rollout_buffer.returns.flatten().tolist())
