"""SB3's zip with interventions in it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from small_ppo import RESETS, assert_same, build, parameters, world
from stable_baselines3 import PPO as StockPPO

import envs
from agents import PPO
from agents.plasticity import GXD, Intervention, intervention
from agents.plasticity.registry import INTERVENTIONS
from agents.saving import merge, split


def test_stock_sb3_loads_a_zip_with_interventions(tmp_path: Path) -> None:
    model = build("board", interventions=[RESETS["gxd"]()]).learn(128)
    model.save(tmp_path / "model")
    assert_same(parameters(StockPPO.load(tmp_path / "model", device="cpu")), parameters(model))


def test_a_zip_can_be_a_file_object_and_interventions_can_begin_anew(tmp_path: Path) -> None:
    model = build("mlp", interventions=[RESETS["gxd-each-step"](), RESETS["regrama"]()]).learn(192)
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


@pytest.fixture
def nested() -> Iterator[type[Intervention]]:
    """A registered intervention whose state is nested."""

    @intervention("nested")
    class Nested(Intervention):
        def __init__(self) -> None:
            self.held: Any = None

        def state_dict(self) -> dict[str, Any]:
            return {"held": self.held}

        def load_state_dict(self, state: Mapping[str, Any]) -> None:
            self.held = state["held"]

    yield Nested
    del INTERVENTIONS["nested"]


def test_a_nested_state_goes_through_a_zip(nested: type[Intervention], tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    held = {
        "a": [shared, {"b/c": shared[2:], "n": 3, "none": None}, [], "text"],
        "a/1/b": torch.tensor([True]),
        "rate": 0.1,
        "infinite": float("inf"),
        "seen": (1, False),
        "counts": {0: np.arange(6).reshape(2, 3).T, 1: np.float32(0.1), "$tensor": "text"},
    }
    model = build("mlp", interventions=[RESETS["gxd"](), nested()]).learn(64)
    model.interventions[1].held = held
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", device="cpu")
    first, second = loaded.interventions
    assert_same(first.state_dict(), model.interventions[0].state_dict())
    found = second.held
    assert list(found) == list(held)
    assert found["a"][0].tolist() == shared.tolist()
    assert found["a"][1] == {"b/c": found["a"][1]["b/c"], "n": 3, "none": None}
    assert found["a"][1]["b/c"].tolist() == [2.0, 3.0, 4.0, 5.0]
    assert found["a"][2:] == [[], "text"]
    assert found["a/1/b"].tolist() == [True]
    assert (found["rate"], found["infinite"], found["seen"]) == (0.1, float("inf"), [1, False])
    counts = found["counts"]
    assert (counts.keys(), counts["$tensor"]) == ({0, 1, "$tensor"}, "text")
    assert counts[0].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert (type(counts[0]), type(counts[1]), counts[1]) == (np.ndarray, np.float32, np.float32(0.1))
    assert_same(parameters(StockPPO.load(tmp_path / "model", device="cpu")), parameters(model))


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({1.5: 2}, "the key 1.5, which cannot be saved"),
        (np.array(["text"]), "holds an array of <U4, which cannot be saved"),
        ([{1, 2}], "holds a set, which cannot be saved"),
        (GXD, "holds a type, which cannot be saved"),
    ],
)
def test_what_is_no_plain_data_is_not_saved(held: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"an intervention's state .*{message}"):
        split({"held": held})


def changed(path: Path, tree: Any) -> Path:
    """A zip with another tree of its interventions' state; without one where that is None."""
    new = path.with_name("changed.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(new, "w") as members:
        for name in old.namelist():
            if name != "interventions.json":
                members.writestr(name, old.read(name))
            elif tree is not None:
                members.writestr(name, json.dumps(tree))
    return new


def test_a_state_that_lacks_a_tensor_is_refused(nested: type[Intervention], tmp_path: Path) -> None:
    model = build("mlp", interventions=[nested()])
    model.interventions[0].held = [torch.ones(2)]
    model.save(tmp_path / "model.zip")
    tree = {"interventions": [{"held": [{"$tensor": "other"}]}], "units_reset": {}}
    with pytest.raises(ValueError, match="state of the interventions lacks its tensor 'other'"):
        PPO.load(changed(tmp_path / "model.zip", tree), device="cpu")
    assert merge({"$tensor": "x", "y": 1}, {"x": torch.ones(1)}) == {"$tensor": "x", "y": 1}
    with pytest.raises(ValueError, match="has a dict without keys"):
        merge({"$items": [3]}, {})


@pytest.mark.parametrize(
    "tree",
    [
        {},
        [],
        {"interventions": 3},
        {"interventions": [3], "units_reset": {}},
        {"interventions": [{"held": 1}], "units_reset": []},
    ],
)
def test_a_state_of_another_shape_is_refused(tree: Any, nested: type[Intervention], tmp_path: Path) -> None:
    build("mlp", interventions=[nested()]).save(tmp_path / "model.zip")
    with pytest.raises(ValueError, match="the saved state of the interventions has another form; give what state_dict"):
        PPO.load(changed(tmp_path / "model.zip", tree), device="cpu")


def test_of_a_zip_of_an_older_version_it_is_said_that_it_has_a_state(
    nested: type[Intervention], tmp_path: Path
) -> None:
    build("mlp", interventions=[nested()]).save(tmp_path / "model.zip")
    with pytest.warns(UserWarning, match="holds its interventions' state in an old form, they begin anew"):
        PPO.load(changed(tmp_path / "model.zip", None), device="cpu")
