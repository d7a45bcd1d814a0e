"""Checkpoints: a policy's tensors as safetensors and JSON, so that loading one never executes code."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import safetensors.torch
from torch import Tensor, nn

TENSORS = "policy.safetensors"
ALIASES = "aliases.json"


class _HasPolicy(Protocol):
    @property
    def policy(self) -> nn.Module: ...


def save_policy(model: _HasPolicy, folder: Path, texts: Mapping[str, str]) -> None:
    """Write every tensor of the policy into a new folder, which appears whole or not at all.

    A module that the policy holds under several names (a shared features extractor) is stored once; ``aliases.json``
    maps the other names to the stored one.

    Args:
        model: whose ``policy`` is saved.
        folder: is made; must not exist.
        texts: other files to put beside the tensors, name -> content.
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
