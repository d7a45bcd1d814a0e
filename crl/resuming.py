"""From where a run is gone on with, and what will not be as it was: all looked at before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from crl import checkpoints, logs, storage
from crl.checkpoints import UNFIT, log_lengths, logs_refusal, machine, needed
from crl.config import ConfigError, RunConfig, config_hash
from crl.config.messages import one_line
from crl.config.schema import MAX_THREADS
from crl.folder import ABSENT, COMPUTING
from crl.storage.files import read_whole

LONGEST = 1e10  # seconds: three centuries
MAX_RESULTS = 1 << 28  # bytes of results.json


def refuse_finished(folder: Path) -> None:
    """Refuse a run that has nothing left to train.

    Raises:
        ConfigError: it is one.
    """
    path = folder / "results.json"
    try:
        status = storage.parsed(read_whole(path, MAX_RESULTS))["status"] if path.exists() else None
    except (storage.DamagedError, ValueError, KeyError, TypeError, RecursionError):
        return  # half written, so the run had not ended
    if status == "done":
        raise ConfigError(f"the run in {str(folder)!r} is finished; train a new one with another seed or config")


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
            lengths = log_lengths(storage.read(checkpoint, ["run"])["run"])
        except (storage.DamagedError, *UNFIT):  # with the right checksums: it is refused as soon as it is chosen
            return
        try:
            logs.missing(folder, lengths)
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
        known = {key: saved[key] for key in ("hash", "seconds", "threads")}
        if known["hash"] != config_hash(config):
            raise ValueError("it is of another config")
        _check_numbers(known["seconds"], known["threads"])
        saved["machine"] = {name: one_line(value) for name, value in saved["machine"].items()}
        saved["logs"] = log_lengths(saved)
    except (storage.DamagedError, *UNFIT) as error:  # with checksums that say otherwise
        raise checkpoints.refusal(checkpoint, error) from error
    return saved


def _check_numbers(seconds: Any, threads: Any) -> None:
    if type(threads) is not int or not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"it is of {threads!r} threads")
    if type(seconds) not in (int, float) or not 0 <= seconds < LONGEST:
        raise ValueError(f"it is of {seconds!r} seconds")


def differences(saved: dict[str, Any] | None, device: torch.device, threads: int) -> list[str]:
    """Sentences on what keeps the resumed run from being bit-identical."""
    if saved is None:
        return []
    here = {**machine(device), "threads": threads}
    there = {**saved["machine"], "threads": saved["threads"]}
    return [
        f"the run was trained with {name} {there[name]}, and here it is {value}: it goes on, but "
        f"{'perhaps ' if name in COMPUTING else ''}not bit-identically"
        for name, value in here.items()
        # What the run did not have it did not use, and other versions of crl have recorded less.
        if there.get(name, ABSENT) not in (value, ABSENT)
    ]
