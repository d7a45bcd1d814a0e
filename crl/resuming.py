"""From where a run is gone on with, and what will not be as it was: all looked at before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from crl import checkpoints, logs, storage
from crl.checkpoints import UNFIT, logs_refusal, needed
from crl.config import ConfigError, RunConfig, config_hash
from crl.config.messages import one_line
from crl.config.schema import MAX_THREADS
from crl.machine import machine
from crl.results import FILE, MAX_RESULTS
from crl.storage.files import read_whole
from crl.versions import ABSENT, COMPUTING, UNKNOWN


def refuse_finished(folder: Path) -> None:
    """Refuse a run that has nothing left to train.

    Raises:
        ConfigError: it is one.
    """
    if is_finished(folder):
        raise ConfigError(f"the run in {str(folder)!r} is finished; train a new one with another seed or config")


def is_finished(folder: Path) -> bool:
    """Whether a run has nothing left to train."""
    try:
        return bool(storage.parsed(read_whole(folder / FILE, MAX_RESULTS))["status"] == "done")  # whatever else it says
    except (storage.DamagedError, *UNFIT):  # it has none yet, or not all of it
        return False


def newest(folder: Path, config: RunConfig) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that a run can go on from.

    Returns:
        Its folder, None where the run has to start again; and a sentence on each newer one that is passed over.

    Raises:
        ConfigError: there is none, and for some it is because of the logs, which starting again would empty.
    """
    unfit: list[storage.DamagedError] = []

    def check(checkpoint: Path) -> None:
        try:
            seen = logs.read_extents(storage.read(checkpoint, ["run"])["run"]["logs"])
        except (storage.DamagedError, *UNFIT):  # with the right checksums: it is refused as soon as it is chosen
            return
        try:
            logs.missing(folder, seen)
        except storage.DamagedError as error:
            unfit.append(error)
            raise

    found, passed_over = storage.newest(folder / checkpoints.FOLDER, needed(config), check)
    if found is None and unfit:
        raise logs_refusal(folder, unfit[0])
    return found, passed_over


def lost(folder: Path, checkpoint: Path | None, saved: Mapping[str, Any] | None) -> list[str]:
    """Sentences on the log files that have to be begun anew."""
    if checkpoint is None or saved is None:
        return []
    step = int(checkpoint.name)
    return [
        f"{str(path)!r} is missing: its rows before step {step:,} are lost"
        for path in logs.missing(folder, saved["logs"])
    ]


def saved_by(checkpoint: Path | None, config: RunConfig) -> dict[str, Any] | None:
    """What a checkpoint holds of the run itself.

    Raises:
        ConfigError: it does not fit.
    """
    if checkpoint is None:
        return None
    try:
        saved: dict[str, Any] = storage.read(checkpoint, ["run"])["run"]
        if saved["hash"] != config_hash(config):
            raise ValueError("it is of another config")
        if type(saved["threads"]) is not int or not 1 <= saved["threads"] <= MAX_THREADS:
            raise ValueError(f"it is of {saved['threads']!r} threads")
        saved["machine"] = {name: one_line(value) for name, value in saved["machine"].items()}
        saved["logs"] = logs.read_extents(saved["logs"])
    except (storage.DamagedError, *UNFIT) as error:  # with checksums that say otherwise
        raise checkpoints.refusal(checkpoint, error) from error
    return saved


def differences(saved: Mapping[str, Any] | None, device: torch.device, threads: int) -> list[str]:
    """Sentences on what keeps the resumed run from being bit-identical."""
    if saved is None:
        return []
    here = {**machine(device), "threads": threads}
    # Versions of crl that did not record their code had other defaults.
    there = {"crl": f"(code {UNKNOWN})", **saved["machine"], "threads": saved["threads"]}
    return [
        f"the run was trained with {name} {there[name]}, and here it is {value}: it goes on, but "
        f"{'perhaps ' if name in (*COMPUTING, 'crl') else ''}not bit-identically"
        for name, value in here.items()
        # What the run did not have it did not use, and other versions of crl have recorded less.
        if there.get(name, ABSENT) not in (value, ABSENT)
    ]
