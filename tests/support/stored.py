"""What tests of storage write, and whether what comes back is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from crl import storage


class HeldError(PermissionError):
    """As Windows refuses what is done to a file that another program has open."""

    winerror = 32


def same(found: Any, expected: Any) -> bool:
    """Equal in value, type and dtype, and in every bit of floats."""
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(same(found[key], value) for key, value in expected.items())
    if isinstance(expected, list | tuple):
        return type(found) is list and len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, np.ndarray | np.generic):
        alike = type(found) is type(expected) and found.dtype == expected.dtype and found.shape == expected.shape
        return alike and found.tobytes() == expected.tobytes()
    if isinstance(expected, torch.Tensor):
        alike = type(found) is torch.Tensor and found.dtype == expected.dtype and found.shape == expected.shape
        if not alike or not expected.numel():
            return alike
        raw = [tensor.detach().resolve_conj().contiguous().flatten().view(torch.uint8) for tensor in (found, expected)]
        return torch.equal(*raw)
    return type(found) is type(expected) and repr(found) == repr(expected)


def nested(levels: int) -> list[Any]:
    state: list[Any] = []
    for _ in range(levels - 1):
        state = [state]
    return state


def checkpoints(tmp_path: Path, *steps: int) -> Path:
    folder = tmp_path / "odd [name] with spaces" / "checkpoints"
    for step in steps:
        parts = {"learner": {"step": step, "weight": torch.full((5,), step)}, "replay": {"obs": np.ones(99, bool)}}
        storage.write(folder / str(step), parts, {"config.yaml": "seed: 1\n"})
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


FILES = ["config.yaml", "learner.json", "learner.safetensors", "manifest.json", "replay.json", "replay.safetensors"]
