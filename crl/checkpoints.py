"""The checkpoints of a run: when they are written, what they hold, and how a run goes on from one."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from agents.training_state import rebuild_games, restore_training_state, training_state
from crl import logs, storage
from crl.best import FOLDER as BEST
from crl.best import BestPart, folder_name
from crl.config import ConfigError, RunConfig, config_hash, to_yaml
from crl.config.messages import one_line
from crl.ending import Interrupt, LossError, Stop, check_finite
from crl.every import Every
from crl.machine import machine
from crl.part_list import PartsError, log_files, restore_all, states_of
from crl.parts import Part
from crl.screen import warn
from crl.storage import State
from crl.visits import FOLDER as VISITS

FOLDER = "checkpoints"
UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
"""What raises where a state is put back that does not fit."""


def needed(config: RunConfig) -> tuple[str, ...]:
    """What a checkpoint must hold for a run to go on from it."""
    replay = ("replay",) if config.agent.spec.data == "replay" else ()
    return ("learner", "world", "random", "run", *replay)


def refusal(checkpoint: Path, error: Exception) -> ConfigError:
    """Says that a run cannot go on from a checkpoint whose files have the right checksums."""
    if isinstance(error, PartsError):
        return ConfigError(f"the run cannot go on from {str(checkpoint)!r}: {error}")
    kind = "" if isinstance(error, storage.DamagedError) else f"{type(error).__name__}: "
    return ConfigError(
        f"the run cannot go on from {str(checkpoint)!r} ({kind}{one_line(error)}): it was changed, or written "
        "by another version of crl or of the environment; remove it to go on from the one before"
    )


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
    parents = [folder / FOLDER, folder / BEST, folder / VISITS]
    steps = [path for parent in (parents[0], parents[2]) for path in parent.glob("*") if path.name.isdecimal()]
    for path in [*parents, *steps, *(parents[1] / folder_name(task) for task in tasks)]:
        if os.path.lexists(path) and not path.is_dir():
            raise ConfigError(
                f"{str(path)!r} is no folder, and a checkpoint is to lie there; move it away, then resume the run"
            )


class CheckpointCallback(Part):
    """Writes checkpoints at the ends of updates, puts one back at the beginning, and grants the wish to stop.

    It is told first that training starts, so that all other parts start where they shall go on from, and last that an
    update has ended.

    Args:
        parts: all others of the run, in the order in which they are put back.
        best: the one of them that keeps the best checkpoints.
        interrupt: the wish.
        begin: called when training begins and what a checkpoint holds is in place: the run's folder may be changed.
        resumed: the folder of the checkpoint to go on from; None to begin.
    """

    name = "checkpoints"

    def __init__(
        self,
        parts: Sequence[Part],
        best: BestPart,
        interrupt: Interrupt,
        begin: Callable[[], None],
        every: int,
        resumed: Path | None = None,
    ) -> None:
        super().__init__()
        self._parts = [self, *parts]
        self._best, self._interrupt, self._begin, self._resumed = best, interrupt, begin, resumed
        self._due = Every(every, multiples=True)
        self.stopped = False

    # ------------------------------------------------------------------ when

    def _on_training_start(self) -> None:
        if self._resumed is None:
            self._cut_logs({})
        else:
            self._go_on(self._resumed)
        self._interrupt.rollout.begin()

    def _on_step(self) -> bool:
        self.run.claim.check_again()  # before the other parts, some of which write now
        return True

    def _on_rollout_end(self) -> None:
        self.run.claim.check_again()

    def _on_training_end(self) -> None:
        self._interrupt.trained = True

    def update_ended(self) -> None:
        """Save what is due, and stop if that is wished."""
        self._interrupt.rollout.end()
        self._check_losses()
        step = self.learner.num_timesteps
        due = self._due.is_due(step)
        if due:
            self._due.done(step)
            self.save()
        if self._interrupt.code:
            if not due:
                self.save(planned=False)
            self.stopped = True
            raise Stop
        self._interrupt.rollout.begin()

    def _check_losses(self) -> None:
        for tag, value in self.logger.name_to_value.items():
            if tag.startswith("train/") and tag.endswith("loss") and not math.isfinite(value):
                raise LossError(f"{tag} is {value} after {self.learner.num_timesteps:,} steps")

    # ------------------------------------------------------------------ what

    def save(self, *, planned: bool = True) -> None:
        """Write a checkpoint of this moment, between two updates.

        Args:
            planned: a run that nobody stops writes it too. Others leave no trace in how the run ends, as far as its
                games can be saved.

        Raises:
            ClaimLostError: the run is another process's by now.
        """
        learner, folder = self.learner, self.run.folder
        step = learner.num_timesteps
        self.run.claim.check()
        if not (folder / "config.yaml").exists():  # writing would make a folder that is no run
            raise FileNotFoundError(errno.ENOENT, "the run's folder is gone", str(folder))
        check_finite(learner.policy, step)
        if rebuild_games(learner, step) and not planned:
            warn(
                "the games cannot be saved and begin anew where the run was stopped, so that it will not end as one "
                "that was never stopped"
            )
        state = training_state(learner)
        if planned:
            self._best.keep(state)
        path = folder / FOLDER / str(step)
        self._write(path, {**state, "run": self._state()})
        self._interrupt.saved = path  # before those are removed that it names till now
        storage.prune(folder / FOLDER, self.run.config.checkpoint.keep)

    def _write(self, path: Path, state: Mapping[str, State]) -> None:
        storage.write(path, state, {"config.yaml": to_yaml(self.run.config)}, check=self.run.claim.check)

    def _state(self) -> State:
        return {
            "hash": config_hash(self.run.config),
            "machine": machine(self.learner.device),
            "threads": torch.get_num_threads(),
            "parts": states_of(self._parts),  # before the logs are measured, see `Part.state`
            "logs": self._extents(),
        }

    def _extents(self) -> dict[str, logs.Extent]:
        return logs.extents(self.run.folder, log_files(self._parts))

    def state(self) -> State:
        """Which of those that are due was the last."""
        return self._due.state()

    def restore(self, state: Any) -> None:
        """Go on from what `state` gave."""
        self._due.restore(state)

    # ------------------------------------------------------------------ going on

    def _go_on(self, path: Path) -> None:
        """Put back a checkpoint, and only then touch the run's folder.

        Raises:
            ConfigError: it, or the logs, do not fit.
        """
        try:
            state = storage.read(path)
            seen = logs.read_extents(state["run"]["logs"])
            restore_all(self._parts, state["run"]["parts"])
            restore_training_state(self.learner, state)  # behind the parts: the generators with it
        except torch.OutOfMemoryError:
            raise
        except (storage.DamagedError, *UNFIT) as error:
            raise refusal(path, error) from error
        if self._cut_logs(seen):  # those that are begun anew have to fit, should the run be killed before it saves
            state["run"] = {**state["run"], "logs": self._extents()}
            self._write(path, state)

    def _cut_logs(self, seen: Mapping[str, logs.Extent]) -> list[Path]:
        """Cut the run's logs to what a checkpoint saw, the first change to a folder; those that are missing.

        Raises:
            ConfigError: they do not fit. Nothing has been changed.
        """
        folder = self.run.folder
        try:
            gone = logs.missing(folder, seen)
            logs.truncate(folder, seen, log_files(self._parts))
        except storage.DamagedError as error:
            raise logs_refusal(folder, error) from error
        self._begin()
        return gone
