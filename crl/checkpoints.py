"""The checkpoints of a run: when they are written, what they hold, and how a run goes on from one."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import platform
import re
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from agents.learner import LearnerMixin
from agents.training_state import State, rebuild_games, restore_training_state, training_state
from crl import logs, storage
from crl.config import ConfigError, RunConfig, config_hash, to_yaml
from crl.config.messages import one_line
from crl.ending import Interrupt, LossError, Stop, spoilt
from crl.folder import COMPUTING, LONGEST_NAME, installed
from crl.monitoring import PlasticityRecorder, ProgressCallback, RowCallback, TaskCallback, peak_memory

FOLDER = "checkpoints"
BEST = "best"
DEVICES = re.compile("con|prn|aux|nul|com[0-9]|lpt[0-9]", re.IGNORECASE)  # which Windows takes for no files
UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
"""What raises where a state is put back that does not fit."""


def needed(config: RunConfig) -> tuple[str, ...]:
    """The parts without which a run cannot go on."""
    replay = ("replay",) if config.agent.name != "ppo" else ()
    return ("learner", "world", "random", "run", *replay)


def refusal(checkpoint: Path, error: Exception) -> ConfigError:
    """Says that a run cannot go on from a checkpoint whose files have the right checksums."""
    kind = "" if isinstance(error, storage.DamagedError) else f"{type(error).__name__}: "
    return ConfigError(
        f"the run cannot go on from {str(checkpoint)!r} ({kind}{one_line(error)}): it was changed, or written "
        "by another version of crl or of the environment; remove it to go on from the one before"
    )


def log_lengths(run: Mapping[str, Any]) -> dict[str, int]:
    """The bytes that each log file had at a checkpoint, of which `run` is what it holds of the run itself."""
    lengths: dict[str, int] = dict(run["logs"])
    for name, length in lengths.items():
        if type(length) is not int or length < 0:
            raise ValueError(f"it saw {length!r} bytes of {name!r}")
    return lengths


def logs_refusal(folder: Path, error: storage.DamagedError) -> ConfigError:
    """Says that a log file fits no checkpoint: without it the run goes on, and only its rows are lost."""
    return ConfigError(
        f"{str(folder)!r} cannot be resumed: {error}; put the file back as it was, or move it away to go on without "
        "its rows"
    )


def check_places(folder: Path, tasks: Iterable[str]) -> None:
    """Refuse files in the place of folders, which would end the run where it writes a checkpoint.

    Args:
        folder: of the run.
        tasks: those that have a best checkpoint each.

    Raises:
        ConfigError: there is one.
    """
    parents = [folder / FOLDER, folder / BEST]
    steps = [path for path in parents[0].glob("*") if path.name.isdecimal()]
    for path in [*parents, *steps, *(parents[1] / _folder_name(task) for task in tasks)]:
        if os.path.lexists(path) and not path.is_dir():
            raise ConfigError(
                f"{str(path)!r} is no folder, and a checkpoint is to lie there; move it away, then resume the run"
            )


class CheckpointCallback(BaseCallback):
    """Writes checkpoints at the ends of updates, puts one back at the beginning, and grants the wish to stop.

    Args:
        folder: of the run.
        config: of the run.
        interrupt: the wish.
        begin: is told the lengths that the run's logs shall have, and opens them; called when training begins and what
            a checkpoint holds is in place.
        tasks: counts returns.
        rows: writes rows of logs.
        plasticity: measures.
        progress: shows.
        resumed: the folder of the checkpoint to go on from; None to begin.
    """

    def __init__(
        self,
        folder: Path,
        config: RunConfig,
        interrupt: Interrupt,
        begin: Callable[[Mapping[str, int]], None],
        *,
        tasks: TaskCallback,
        rows: RowCallback,
        plasticity: PlasticityRecorder,
        progress: ProgressCallback,
        resumed: Path | None = None,
    ) -> None:
        super().__init__()
        self._folder, self._config, self._interrupt, self._begin = folder, config, interrupt, begin
        self._tasks, self._rows, self._plasticity, self._progress = tasks, rows, plasticity, progress
        self._resumed = resumed
        self._best: dict[str, float] = {}
        self._passed = 0  # steps at the last look
        self._started = 0.0
        self._peaks: dict[str, int] = {}  # of memory, before this process
        self.stopped = False

    @property
    def _learner(self) -> LearnerMixin:
        assert isinstance(self.model, LearnerMixin)
        return self.model

    def seconds(self) -> float:
        """From the beginning of training till now, without the time between a kill and resuming."""
        return time.perf_counter() - self._started if self._started else 0.0

    def peak_memory(self) -> dict[str, int]:
        """The most bytes that the run has held (see `crl.monitoring.peak_memory`), in all of its processes."""
        now = peak_memory(self._learner.device)
        return {**self._peaks, **{kind: max(peak, self._peaks.get(kind, 0)) for kind, peak in now.items()}}

    # ------------------------------------------------------------------ when

    def _on_training_start(self) -> None:
        self._started = time.perf_counter()
        self._learner.update_ended = self._after_update
        if self._resumed is None:
            self._begin({})
        else:
            self._go_on(self._resumed)

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._interrupt.trained = True

    def _after_update(self) -> None:
        self._check_losses()
        steps, every = self._learner.num_timesteps, self._config.checkpoint.every
        due = steps // every > self._passed // every
        self._passed = steps
        if due:
            self.save()
        self._grant(saved=due)

    def _grant(self, saved: bool = False) -> None:
        if self._interrupt.code:
            if not saved:
                self.save(planned=False)
            self.stopped = True
            raise Stop

    def _check_losses(self) -> None:
        for tag, value in self.logger.name_to_value.items():
            if tag.startswith("train/") and tag.endswith("loss") and not math.isfinite(value):
                raise LossError(f"{tag} is {value} after {self._learner.num_timesteps:,} steps")

    # ------------------------------------------------------------------ what

    def save(self, *, planned: bool = True) -> None:
        """Write a checkpoint of this moment, between two updates.

        Args:
            planned: a run that nobody stops writes it too. Others leave no trace in how the run ends, as far as its
                games can be saved.
        """
        model = self._learner
        if not (self._folder / "config.yaml").exists():  # writing would make a folder that is no run
            raise FileNotFoundError(errno.ENOENT, "the run's folder is gone", str(self._folder))
        if (name := spoilt(model.policy)) is not None:
            raise LossError(f"the parameter {name} is not finite after {model.num_timesteps:,} steps")
        if rebuild_games(model, model.num_timesteps) and not planned:
            print(
                "crl: warning: the games cannot be saved and begin anew where the run was stopped, so that it will not "
                "end as one that was never stopped",
                file=sys.stderr,
            )
        state = training_state(model)
        checkpoints = self._folder / FOLDER
        path = checkpoints / str(model.num_timesteps)
        if planned:
            self._save_best(state)
        storage.write(path, {**state, "run": self._state()}, {"config.yaml": to_yaml(self._config)})
        self._interrupt.saved = path  # before those are removed that it names till now
        storage.prune(checkpoints, self._config.checkpoint.keep)

    def _save_best(self, state: Mapping[str, State]) -> None:
        """The parameters with which the current task's mean return was highest, of all checkpoints in that task."""
        found, task = self._tasks.mean_return(), self._tasks.segment.task.family
        if found is None or found <= self._best.get(task, -math.inf):
            return
        self._best[task] = found
        parts = {part: state[part] for part in ("learner", "world")}
        storage.write(
            self._folder / BEST / _folder_name(task),
            parts,
            {"return.txt": f"{found}\n"},
            step=self._learner.num_timesteps,
        )

    def _state(self) -> State:
        logger = self.logger
        return {
            "hash": config_hash(self._config),
            "machine": machine(self._learner.device),
            "threads": torch.get_num_threads(),
            "seconds": self.seconds(),
            "peak_memory": self.peak_memory(),
            "passed": self._passed,
            "best": dict(self._best),
            "tasks": self._tasks.state(),
            "rows": self._rows.written,
            "progress": self._progress.ended,
            "plasticity": self._plasticity.state(),
            "logs": logs.lengths(self._folder, logger),
            "pending": {
                "values": dict(logger.name_to_value),
                "counts": dict(logger.name_to_count),
                "excluded": {tag: list(names or ()) for tag, names in logger.name_to_excluded.items()},
            },
        }

    def _go_on(self, path: Path) -> None:
        """Put back a checkpoint, and only then touch the run's folder.

        Raises:
            ConfigError: it, or the logs, do not fit.
        """
        try:
            state = storage.read(path)
            lengths = log_lengths(state["run"])
            self._restore(state)
        except torch.OutOfMemoryError:
            raise
        except (storage.DamagedError, *UNFIT) as error:
            raise refusal(path, error) from error
        try:
            gone = logs.missing(self._folder, lengths)
            self._begin(lengths)
        except storage.DamagedError as error:
            raise logs_refusal(self._folder, error) from error
        if gone:  # the files that were begun anew have to fit, should the run be killed before its next checkpoint
            if any(path.name.startswith(logs.EVENTS) for path in gone):
                self._plasticity.write_layout_again()
            again = {"logs": logs.lengths(self._folder, self.logger), "plasticity": self._plasticity.state()}
            state["run"] = {**state["run"], **again}
            storage.write(path, state, {"config.yaml": to_yaml(self._config)})

    def _restore(self, state: Mapping[str, State]) -> None:
        run = state["run"]
        self._passed = int(run["passed"])
        self._best = {task: float(found) for task, found in run["best"].items()}
        self._started -= run["seconds"]
        self._peaks = {kind: int(peak) for kind, peak in run.get("peak_memory", {}).items()}
        self._tasks.restore(run["tasks"])
        self._rows.written, self._progress.ended = int(run["rows"]), int(run["progress"])
        self._plasticity.restore(run["plasticity"])
        _put_back(self.logger, run["pending"])
        restore_training_state(self._learner, state)
        self._learner.start_time = time.time_ns() - int(run["seconds"] * 1e9)


def _put_back(logger: Logger, pending: Mapping[str, Any]) -> None:
    """The values that were recorded for a row that is not written yet."""
    logger.name_to_value.update(pending["values"])
    logger.name_to_count.update(pending["counts"])
    logger.name_to_excluded.update({tag: tuple(names) for tag, names in pending["excluded"].items()})


def _folder_name(task: str) -> str:
    """A task's name as that of a folder; where it must be changed, its checksum is behind it."""
    name = re.sub(r"[^A-Za-z0-9_,()=-]+", "-", task)[:LONGEST_NAME]
    kept = name == task and not DEVICES.fullmatch(name)
    return name if kept else f"{name}-{zlib.crc32(task.encode()):08x}"


def machine(device: torch.device) -> dict[str, str]:
    """What the bits of a run on a device depend on beside its config and its number of threads."""
    versions = {package: installed(package) for package in COMPUTING}
    return {"torch": str(torch.__version__), **versions, "cpu": _cpu(), "device": _described(device)}


def _described(device: torch.device) -> str:
    """Its kind: numbers do not depend on which of several equal ones it is."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
