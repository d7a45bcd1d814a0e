"""SB3's zip with interventions in it."""

from __future__ import annotations

import io
from pathlib import Path

import gymnasium
import pytest
from small_ppo import RESETS, assert_same, build, parameters, world
from stable_baselines3 import PPO as StockPPO

import envs
from agents import PPO
from agents.plasticity import GXD


def test_stock_sb3_loads_a_zip_with_interventions(tmp_path: Path) -> None:
    model = build("board", interventions=[RESETS["gxd"]()]).learn(128)
    model.save(tmp_path / "model")
    assert_same(parameters(StockPPO.load(tmp_path / "model", device="cpu")), parameters(model))


def test_a_zip_can_be_a_file_object_and_interventions_can_begin_anew(tmp_path: Path) -> None:
    model = build("mlp", interventions=[RESETS["gxd"](), RESETS["regrama"]()]).learn(192)
    path = tmp_path / "with spaces.zip"
    with path.open("wb") as file:
        model.save(file)
    with path.open("rb") as file:
        loaded = PPO.load(file, device="cpu")
    assert [i.arguments() for i in loaded.interventions] == [i.arguments() for i in model.interventions]
    for old, new in zip(model.interventions, loaded.interventions, strict=True):
        assert_same(old.state_dict(), new.state_dict())
    anew = PPO.load(path, device="cpu", interventions=[GXD(rate=0.5)])
    assert [i.arguments()["rate"] for i in anew.interventions] == [0.5]
    assert not any(t.any() for k, t in anew.interventions[0].state_dict().items() if k.startswith("utility"))
    assert PPO.load(path, device="cpu", interventions=[]).interventions == []


def test_a_reset_given_to_a_trained_agent_leaves_it_alone_at_first(tmp_path: Path) -> None:
    build("board").learn(512).save(tmp_path / "model")
    model = PPO.load(tmp_path / "model", env=world("board"), device="cpu", interventions=[GXD(period=20, maturity=20)])
    assert model.optimizer_steps == 64
    assert model.interventions[0].state_dict()["born/actor.0"].tolist() == [64] * 64
    trained = parameters(model.learn(64))
    assert_same(trained, parameters(PPO.load(tmp_path / "model", env=world("board"), device="cpu").learn(64)))


def test_what_stock_sb3_saved_again_begins_its_interventions_anew(tmp_path: Path) -> None:
    build("mlp", interventions=[RESETS["gxd"]()]).learn(128).save(tmp_path / "ours")
    StockPPO.load(tmp_path / "ours", device="cpu").save(tmp_path / "again")
    with pytest.warns(UserWarning, match="holds no state of its interventions, they begin anew"):
        loaded = PPO.load(tmp_path / "again", device="cpu")
    assert [i.name for i in loaded.interventions] == ["gxd"]


def test_arguments_are_saved_as_they_are_now(tmp_path: Path) -> None:
    model = build("mlp", interventions=[RESETS["gxd"]()])
    model.interventions[0].rate = 0.25
    model.save(tmp_path / "model")
    assert PPO.load(tmp_path / "model", device="cpu").interventions[0].rate == 0.25


WORLDS = {"CartPole-v1": "cartpole", "Acrobot-v1": "acrobot", "MountainCar-v0": "mountain_car"}


@pytest.mark.parametrize("id", WORLDS)
def test_a_stock_agent_goes_on_in_our_world_of_its_name(id: str, tmp_path: Path) -> None:
    """Its space is unbounded, because offsets may be added to observations."""
    settings = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "device": "cpu"}
    path = tmp_path / "stock.zip"
    stock = StockPPO("MlpPolicy", id, **settings).learn(16)
    stock.save(path)
    world = envs.make(WORLDS[id], n_envs=2, seed=0)
    with pytest.warns(UserWarning, match="the agent's observations were .*; it goes on with the world's, ") as warned:
        loaded = PPO.load(path, env=world, device="cpu")
    assert warned[0].filename == __file__
    assert loaded.observation_space == loaded.policy.observation_space == world.single_observation_space
    assert_same(parameters(loaded), parameters(stock))
    assert loaded.learn(32, reset_num_timesteps=False).num_timesteps == 48
    loaded.save(tmp_path / "ours.zip")
    with path.open("rb") as file, pytest.warns(UserWarning, match="the agent's observations were"):
        PPO.load(file, env=world, device="cpu")
    PPO.load(tmp_path / "ours.zip", env=world, device="cpu")  # its space is the world's now: there is nothing to say
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        PPO.load(tmp_path / "ours.zip", env=gymnasium.make(id), device="cpu")
    again = PPO.load(path, env=gymnasium.make(id), device="cpu")
    with pytest.warns(UserWarning, match="the agent's observations were"):
        again.set_env(envs.make(WORLDS[id], n_envs=1, seed=0))
    assert again.observation_space == again.policy.observation_space == world.single_observation_space
    assert again.learn(16).num_timesteps == 16


def test_an_environment_that_is_refused_changes_no_space() -> None:
    model = PPO("MlpPolicy", gymnasium.make("CartPole-v1"), device="cpu")
    before = model.observation_space
    with pytest.raises(AssertionError, match="number of environments"):
        model.set_env(envs.make("cartpole", n_envs=2))
    assert model.observation_space is before


def test_what_is_no_zip_is_refused_by_sb3() -> None:
    with pytest.raises(ValueError, match="wasn't a zip-file"):
        PPO.load(io.BytesIO(b"no zip"), env=gymnasium.make("CartPole-v1"))
