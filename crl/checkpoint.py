"""Checkpoints: what a learner has learnt as safetensors and JSON, so that loading one never executes code."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import safetensors.torch
import torch
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor, nn

TENSORS = "policy.safetensors"
ALIASES = "aliases.json"
BESIDE = "beside.safetensors"
MOMENTS = ("mean", "var", "count")


class _HasPolicy(Protocol):
    @property
    def policy(self) -> nn.Module: ...


class _Learner(Protocol):
    @property
    def _vec_normalize_env(self) -> VecNormalize | None: ...

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]: ...


def beside_policy(learner: _Learner) -> dict[str, Tensor]:
    """What a learner has learnt beside its policy: SAC's entropy coefficient, and the statistics of a `VecNormalize`.

    Not the optimizers' state: it is needed to train on, not to look at what was learnt.
    """
    found: dict[str, Tensor] = {name: getattr(learner, name) for name in learner._get_torch_save_params()[1]}
    for prefix, statistics in _statistics(learner).items():
        for moment in MOMENTS:
            found[f"{prefix}.{moment}"] = torch.from_numpy(np.array(getattr(statistics, moment), np.float64))
    return {name: tensor.detach().cpu().clone() for name, tensor in found.items()}


def restore_beside_policy(learner: _Learner, tensors: Mapping[str, Tensor]) -> None:
    """Give a learner what `beside_policy` found; the statistics of a `VecNormalize` do not move on from there.

    Raises:
        KeyError: something of it is not there.
    """
    for name in learner._get_torch_save_params()[1]:
        getattr(learner, name).data.copy_(tensors[name])
    for prefix, statistics in _statistics(learner).items():
        statistics.mean, statistics.var = (tensors[f"{prefix}.{moment}"].numpy() for moment in MOMENTS[:2])
        statistics.count = float(tensors[f"{prefix}.count"])
    if learner._vec_normalize_env is not None:
        learner._vec_normalize_env.training = False


def _statistics(learner: _Learner) -> dict[str, RunningMeanStd]:
    """Name -> running statistics of a `VecNormalize`, whose observations are one array."""
    env: Any = learner._vec_normalize_env
    if env is None:
        return {}
    return {"normalizer.returns": env.ret_rms, **({"normalizer.obs": env.obs_rms} if env.norm_obs else {})}


def save_policy(
    model: _HasPolicy, folder: Path, texts: Mapping[str, str], beside: Mapping[str, Tensor] | None = None
) -> None:
    """Write every tensor of the policy into a new folder, which appears whole or not at all.

    A module that the policy holds under several names (a shared features extractor) is stored once; ``aliases.json``
    maps the other names to the stored one.

    Args:
        model: whose ``policy`` is saved.
        folder: is made; must not exist.
        texts: other files to put beside the tensors, name -> content.
        beside: of `beside_policy`; nothing is written where it is empty.
    """
    stored: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    names: dict[tuple[object, ...], str] = {}
    for name, tensor in model.policy.state_dict().items():
        place = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        first = names.setdefault(place, name) if tensor.numel() else name
        if first == name:
            # A copy: safetensors refuses tensors that overlap in memory.
            stored[name] = tensor.detach().cpu().clone().contiguous()
        else:
            aliases[name] = first
    unfinished = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    _write(unfinished / TENSORS, safetensors.torch.save(stored))
    _write(unfinished / ALIASES, json.dumps(aliases, indent=1).encode())
    if beside:
        _write(unfinished / BESIDE, safetensors.torch.save(dict(beside)))
    for file, text in texts.items():
        _write(unfinished / file, text.encode())
    _sync(unfinished)
    unfinished.rename(folder)
    _sync(folder.parent)


def load_policy(folder: Path) -> dict[str, Tensor]:
    """The policy's state dict as it was saved, under all its names."""
    stored = safetensors.torch.load_file(folder / TENSORS)
    aliases: dict[str, str] = json.loads((folder / ALIASES).read_text(encoding="utf-8"))
    return {**stored, **{alias: stored[name] for alias, name in aliases.items()}}


def load_beside(folder: Path) -> dict[str, Tensor]:
    """What was saved beside the policy; empty where nothing was."""
    path = folder / BESIDE
    return safetensors.torch.load_file(path) if path.exists() else {}


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make the folder's list of names as durable as the files themselves."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
