"""From where a run is gone on with, and what will not be as it was: all looked at before anything is changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from crl import checkpoints, storage
from crl.checkpoints import UNFIT, machine
from crl.config import ConfigError, RunConfig, config_hash
from crl.folder import ABSENT


def refuse_finished(folder: Path) -> None:
    """Refuse a run that has nothing left to train.

    Raises:
        ConfigError: it is one.
    """
    path = folder / "results.json"
    try:
        status = json.loads(path.read_text(encoding="utf-8"))["status"] if path.exists() else None
    except (OSError, ValueError, KeyError, TypeError):
        return  # half written, so the run had not ended
    if status == "done":
        raise ConfigError(f"the run in {str(folder)!r} is finished; train a new one with another seed or config")


def saved_by(checkpoint: Path | None, config: RunConfig) -> dict[str, Any] | None:
    """What a checkpoint holds of the run itself.

    Raises:
        ConfigError: it does not fit.
    """
    if checkpoint is None:
        return None
    try:
        saved: dict[str, Any] = storage.read(checkpoint, ["run"])["run"]
        known = {key: saved[key] for key in ("hash", "seconds", "threads")}
        if known["hash"] != config_hash(config):
            raise ValueError("it is of another config")
        if not all(isinstance(known[key], int | float) for key in ("seconds", "threads")):
            raise ValueError(f"it is of {known['seconds']!r} seconds and {known['threads']!r} threads")
        dict(saved["machine"])
    except (storage.DamagedError, *UNFIT) as error:  # with checksums that say otherwise
        raise checkpoints.refusal(checkpoint, error) from error
    return saved


def differences(saved: dict[str, Any] | None, device: torch.device, threads: int) -> list[str]:
    """Sentences on what keeps the resumed run from being bit-identical."""
    if saved is None:
        return []
    here = {**machine(device), "threads": threads}
    there = {**saved["machine"], "threads": saved["threads"]}
    return [
        f"the run was trained with {name} {there[name]}, and here it is {value}: it goes on, but not bit-identically"
        for name, value in here.items()
        # What the run did not have it did not use, and other versions of crl have recorded less.
        if there.get(name, ABSENT) not in (value, ABSENT)
    ]
