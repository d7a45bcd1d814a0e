"""What a run has beside its learner: parts, each of which says itself what of it is saved, put back, logged and cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

from stable_baselines3.common.callbacks import BaseCallback

import envs
from agents.learner import LearnerMixin
from crl.config import ConfigError, RunConfig
from crl.config.messages import shown
from crl.config.parts import PARTS, part
from crl.logs import is_csv
from crl.storage import State

__all__ = ["Part", "PartsError", "Run", "check_parts", "configured", "log_files", "part", "restore_all", "states_of"]


@dataclass(frozen=True)
class Run:
    """What is trained, and where it is written."""

    config: RunConfig
    model: LearnerMixin
    env: envs.StreamVectorEnv
    folder: Path
    started: float
    """When this process began with it, by ``time.perf_counter``."""


class Part(BaseCallback):
    """A part of a run: a callback of Stable-Baselines3's that says what of it outlives a kill.

    A part overrides what it needs; by default nothing is done, saved or logged. SB3's own hooks are there
    (``_on_training_start``, ``_on_step``, ``_on_rollout_end``, ``_on_training_end``) with ``self.model`` and
    ``self.logger``. Training must not notice a part that looks on: it draws random numbers from a generator of its own,
    and plays environments of its own.

    Attributes:
        name: under which its state is saved; no two parts of a run have the same.
        log_files: names of the CSV files in the run's folder to which it appends, see `crl.csv_log.CsvLog`. A run that
            is gone on with finds them as its checkpoint saw them, rows and columns.
        run: that it is a part of; set before training begins.
    """

    name: ClassVar[str]
    log_files: tuple[str, ...] = ()
    run: Run

    @property
    def learner(self) -> LearnerMixin:
        """SB3's ``self.model``, which is one of ours."""
        return cast(LearnerMixin, self.model)

    def state(self) -> State:
        """All that decides how it goes on: nested dicts and lists of JSON values, arrays and tensors.

        It is taken between two updates. What is to be in its log files has been written to them when this returns.
        """
        return None

    def restore(self, state: Any) -> None:
        """Go on from what `state` gave, or raise what does not fit.

        Called in the order of the parts, before training starts and before the learner and the global generators are
        put back. The log files are cut after it, and are not to be opened before ``_on_training_start``.
        """

    def record(self) -> None:
        """Give numbers to ``self.logger``, for the row of logs that is about to be written."""

    def update_ended(self) -> None:
        """An update has ended, or a rollout that none follows: nothing is half done, and a checkpoint may follow."""

    def close(self) -> None:
        """Training is over, however it has ended; also called where it never began."""

    def _on_step(self) -> bool:
        return True


class PartsError(ValueError):
    """A checkpoint is of other parts than the run has."""


def configured(config: RunConfig) -> list[Part]:
    """The parts that a config names, which has been checked."""
    return [PARTS[each.name].resolve()(**each.arguments()) for each in config.parts]


def check_parts(parts: Sequence[Part | type[Part]]) -> None:
    """Refuse parts that cannot be together in a run.

    Raises:
        ConfigError: two have one name or one log file, or a log file is not a CSV file in the run's folder.
    """
    for kind, names in (("name", [each.name for each in parts]), ("log file", log_files(parts))):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ConfigError(f"two parts of the run have the {kind} {shown(twice[0])}; give one of them another")
    for each in parts:
        for file in each.log_files:
            if not is_csv(file):
                raise ConfigError(
                    f"the part {shown(each.name)} of the run has the log file {shown(file)}; give the name of a CSV "
                    "file, such as evaluations.csv"
                )


def log_files(parts: Sequence[Part | type[Part]]) -> list[str]:
    """The CSV files of all parts."""
    return [file for part in parts for file in part.log_files]


def states_of(parts: Sequence[Part]) -> dict[str, State]:
    """Name -> state of all parts."""
    return {part.name: part.state() for part in parts}


def restore_all(parts: Sequence[Part], saved: Mapping[str, State]) -> None:
    """Put back what `states_of` gave.

    Raises:
        PartsError: it is of other parts. Nothing has been put back.
    """
    names = {each.name for each in parts}
    if lacking := sorted(saved.keys() - names):
        raise PartsError(f"it holds what this run has no part for: {shown(', '.join(lacking))}; give it these parts")
    if unknown := sorted(names - saved.keys()):
        raise PartsError(f"it lacks parts of this run: {shown(', '.join(unknown))}; leave them out, or train anew")
    for each in parts:
        each.restore(saved[each.name])
