"""Checkpoints: every tensor comes back, each is stored once, and a folder is whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from crl.checkpoint import load_policy, save_policy


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
