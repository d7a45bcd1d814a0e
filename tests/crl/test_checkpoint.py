"""Checkpoints: every tensor comes back, each is stored once, and a folder is whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import safetensors.torch
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

from crl.checkpoint import beside_policy, load_beside, load_policy, restore_beside_policy, save_policy


class Policy(nn.Module):
    """A shared extractor under two names, a tensor that is a view of another, and one without elements."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Linear(3, 2)
        self.pi_features = self.features
        base = torch.arange(6.0).reshape(2, 3)
        self.register_buffer("base", base)
        self.register_buffer("turned", base.T)
        self.register_buffer("row", base[0])
        self.register_buffer("nothing", torch.empty(0))
        self.register_buffer("nothing_else", torch.empty(0, dtype=torch.int64))


class Model:
    def __init__(self) -> None:
        self.policy = Policy()


def test_all_tensors_come_back_under_all_names(tmp_path: Path) -> None:
    model, folder = Model(), tmp_path / "checkpoints" / "64"
    save_policy(model, folder, {"config.yaml": "seed: 1\n"})
    assert sorted(path.name for path in folder.iterdir()) == ["aliases.json", "config.yaml", "policy.safetensors"]
    assert [path.name for path in folder.parent.iterdir()] == ["64"]
    assert (folder / "config.yaml").read_text() == "seed: 1\n"
    loaded, expected = load_policy(folder), model.policy.state_dict()
    assert loaded.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(loaded[name], tensor), name
        assert loaded[name].dtype == tensor.dtype
    stored = safetensors.torch.load_file(folder / "policy.safetensors")
    aliases = {"pi_features.weight": "features.weight", "pi_features.bias": "features.bias"}
    assert json.loads((folder / "aliases.json").read_text()) == aliases
    assert sorted(stored) == sorted(set(expected) - set(aliases))


def test_a_save_that_fails_leaves_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("crl.checkpoint.os.fsync", full)
    folder = tmp_path / "checkpoints" / "64"
    with pytest.raises(OSError, match="No space left"):
        save_policy(Model(), folder, {})
    assert not folder.exists()
    monkeypatch.undo()
    save_policy(Model(), folder, {})  # what the failed one left is no obstacle
    assert [path.name for path in folder.parent.iterdir()] == ["64"]


def learner(coefficient: float, mean: float, *, norm_obs: bool) -> Any:
    """SAC's entropy coefficient and a normaliser, without anything else of it."""
    env = VecNormalize(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")]), norm_obs=norm_obs)
    env.ret_rms.mean, env.ret_rms.count = np.float64(mean), 17.5
    if norm_obs:
        env.obs_rms.mean = np.full(3, mean)
    return SimpleNamespace(
        log_ent_coef=torch.tensor([coefficient], requires_grad=True), _vec_normalize_env=env,
        _get_torch_save_params=lambda: (["policy", "actor.optimizer"], ["log_ent_coef"]),
    )  # fmt: skip


@pytest.mark.parametrize("norm_obs", [True, False])
def test_what_is_learnt_beside_the_policy_comes_back(tmp_path: Path, norm_obs: bool) -> None:
    source, other = learner(0.25, 1 / 3, norm_obs=norm_obs), learner(1.0, 0.0, norm_obs=norm_obs)
    save_policy(Model(), tmp_path / "64", {}, beside_policy(source))
    found = load_beside(tmp_path / "64")
    assert len(found) == (7 if norm_obs else 4)
    restore_beside_policy(other, found)
    assert other.log_ent_coef.item() == 0.25
    assert other.log_ent_coef.requires_grad
    env = other._vec_normalize_env
    assert (float(env.ret_rms.mean), float(env.ret_rms.count)) == (1 / 3, 17.5)
    if norm_obs:
        assert env.obs_rms.mean.tolist() == [1 / 3] * 3
    assert not env.training
    with pytest.raises(KeyError, match="log_ent_coef"):
        restore_beside_policy(other, {})


def test_nothing_is_written_where_nothing_is_beside_the_policy(tmp_path: Path) -> None:
    save_policy(Model(), tmp_path / "64", {}, {})
    assert not (tmp_path / "64" / "beside.safetensors").exists()
    assert load_beside(tmp_path / "64") == {}
