"""What a run has beside its learner: parts, each of which says itself what of it is saved, put back, logged and cut."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from stable_baselines3.common.callbacks import BaseCallback

from crl.config.parts import part

if TYPE_CHECKING:
    import envs
    from agents.learner import LearnerMixin
    from crl.claims import Claim
    from crl.config import RunConfig
    from crl.storage import State

__all__ = ["Part", "Run", "part"]


@dataclass(frozen=True)
class Run:
    """What is trained, and where."""

    config: RunConfig
    model: LearnerMixin
    env: envs.StreamVectorEnv
    claim: Claim
    """The right to write into the folder; look whether it is still this process's before writing a file anew."""
    started: float
    """When this process began with it, by ``time.perf_counter``."""
    training: Callable[[LearnerMixin], AbstractContextManager[object]] = nullcontext
    """Entered with the learner while that trains."""

    @property
    def folder(self) -> Path:
        """Where it is written."""
        return self.claim.folder


class Part(BaseCallback):
    """A part of a run: a callback of Stable-Baselines3's that says what of it outlives a kill.

    A part overrides what it needs; by default nothing is done, saved or logged. SB3's own hooks are there
    (``_on_training_start``, ``_on_step``, ``_on_rollout_end``, ``_on_training_end``) with ``self.model`` and
    ``self.logger``. Training must not notice a part that looks on: it draws random numbers from a generator of its own,
    and plays environments of its own.

    A part that a config names is built twice: where its arguments are checked, and for the run. Its ``__init__`` keeps
    what it is given, and opens or writes nothing before ``_on_training_start``.

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
        return cast("LearnerMixin", self.model)

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
