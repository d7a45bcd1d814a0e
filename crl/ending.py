"""How a run ends before its time: asked to, or by a failure."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

import numpy as np
import torch
from torch import nn

from crl.config.messages import one_line
from crl.config.schema import to_yaml
from crl.exit_codes import HANG_UP, of_signals
from crl.screen import is_terminal
from crl.storage.files import is_held
from envs.games import is_of_environment

if TYPE_CHECKING:
    from crl.parts import Run


class RunError(RuntimeError):
    """A run has failed: at which step, with what, and what to do; what was raised is its cause."""


class Stop(Exception):  # noqa: N818 (no error: it carries a wish out of the training loop)
    """Training has been asked to stop, and is at a place where it can."""


class LossError(ArithmeticError):
    """A loss or a parameter is no longer finite."""


class ObservationError(ArithmeticError):
    """An environment has given an observation that is not finite."""


class RolloutTime:
    """How long a rollout and the update behind it take."""

    def __init__(self) -> None:
        self._begun: float | None = None
        self._last: float | None = None

    def begin(self) -> None:
        """One begins."""
        self._begun = time.perf_counter()

    def end(self) -> None:
        """It has ended, and the update too."""
        if self._begun is not None:
            self._last = time.perf_counter() - self._begun

    def left(self) -> str:
        """How long the one that has begun still takes, if it takes as long as the last one did."""
        if self._begun is None:
            return "none has begun yet"
        if self._last is None:
            return "the first one: how long it takes is not known yet"
        left = self._last - (time.perf_counter() - self._begun)
        if left <= 0:
            return f"longer than the last one by now, which took {_seconds(self._last)}"
        return f"about {_seconds(left)}, as the last one"


def _seconds(seconds: float) -> str:
    if seconds < 1:
        return "a second"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


class Interrupt:
    """Ctrl-C, SIGTERM and the end of the terminal (but under nohup): a wish that training grants after its next update.

    Python gives signals to its main thread alone: in another one nothing is wished.

    Args:
        exits: a second one ends the process at once; where not, it raises KeyboardInterrupt.

    Attributes:
        code: exit code of the wish, 0 while there is none.
        rollout: how long rollouts with their updates take, which decides when the wish is granted.
        trained: training has ended, so that there is nothing left to stop.
        saved: the newest checkpoint, which a second Ctrl-C names.
    """

    def __init__(self, *, exits: bool = True) -> None:
        self._exits = exits
        self._codes: dict[signal.Signals, int] = {}
        self.code = 0
        self.rollout = RolloutTime()
        self.trained = False
        self.saved: Path | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._codes = of_signals()
        self._previous = {number: signal.signal(number, self._handle) for number in self._codes}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            # None is one that is not Python's, which Python cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.code and number == HANG_UP:
            return  # nobody insists: a shell hangs up what its terminal has hung up, too
        if self.code and not self._exits:
            raise KeyboardInterrupt(self._left())
        if self.code:
            if is_terminal():
                _write(1, b"\x1b[?25h")  # the progress bar hides the cursor
            _write(2, os.fsencode(f"\n{self._left()}\n"))
            os._exit(self._codes[signal.Signals(number)])
        self.code = self._codes[signal.Signals(number)]
        finishing = f"finishing this rollout and update ({self.rollout.left()}), then saving"
        doing = "the run is finished and being saved" if self.trained else finishing
        again = "exits" if self._exits else "stops"
        _write(2, f"\n{doing}; Ctrl-C again {again} at once\n".encode())

    def _left(self) -> str:
        if self.saved is None:
            return "nothing was saved; crl resume starts this run again"
        return f"not saved any more; crl resume goes on from {self.saved}"


def _write(descriptor: int, text: bytes) -> None:
    """Print by the system's own call, because a handler may come while print holds the stream.

    Whoever reads may have gone: the terminal, or the ``tee`` that the same Ctrl-C has ended.
    """
    with suppress(OSError):
        os.write(descriptor, text)


def fail(run: Run, error: BaseException) -> NoReturn:
    """Raise why a run has failed, and leave a report; the newest checkpoint is what was before it.

    Raises:
        RunError: always.
    """
    step = run.model.num_timesteps
    with suppress(RuntimeError):  # a device that is out of memory has none to look at parameters either
        error = cause(error, run.model.policy, run.model._last_obs, run.env.task)
    path = report(error, run.folder, step, to_yaml(run.config))
    where = "no report could be written" if path is None else f"the report is in {path}"
    what = f"{named(error)}; {remedy(error, run.folder)}"
    raise RunError(f"the run failed at step {step:,} with {what} ({where})") from error


def spoilt(policy: nn.Module) -> str | None:
    """Name of a parameter that is no longer finite, None where all are."""
    found = (name for name, parameter in policy.named_parameters() if not parameter.isfinite().all())
    return next(found, None)


def check_finite(policy: nn.Module, step: int) -> None:
    """Refuse parameters that nothing can be done with after so many steps.

    Raises:
        LossError: one is no longer finite.
    """
    if (name := spoilt(policy)) is not None:
        raise LossError(f"the parameter {name} is not finite after {step:,} steps")


def cause(error: BaseException, policy: nn.Module, observations: object, task: str) -> BaseException:
    """What is behind an error: of numbers that are not finite torch says that its distributions have no such logits.

    Args:
        error: what was raised.
        policy: whose parameters are looked at.
        observations: that the policy saw last, an array or a dict of arrays.
        task: name of the one that gave them.
    """
    name = spoilt(policy)
    found: BaseException = error
    if name is not None:
        if not isinstance(error, LossError):
            found = LossError(f"the parameter {name} is not finite")
    elif isinstance(error, ValueError | ArithmeticError | RuntimeError) and not _finite(observations):
        found = ObservationError(f"an observation of task {task!r} is not finite")
    if found is not error:
        found.__cause__ = error
    return found.with_traceback(error.__traceback__)


def _finite(observations: object) -> bool:
    arrays = observations.values() if isinstance(observations, Mapping) else [observations]
    return all(np.isfinite(array).all() for array in arrays if isinstance(array, np.ndarray))


def named(error: BaseException) -> str:
    """An error's class and what it says, if anything, on one line."""
    return ": ".join(filter(None, (type(error).__name__, one_line(error))))


def remedy(error: BaseException, folder: Path) -> str:
    """What to do about a failure of the run in a folder, as the end of a sentence."""
    if isinstance(error, LossError):
        return "lower agent.learning_rate, or look at the rewards and observations of the task"
    if isinstance(error, ObservationError):
        return "correct the environment, whose observations have to be finite numbers, then resume the run"
    if isinstance(error, torch.OutOfMemoryError):
        return "lower agent.batch_size or agent.n_envs, or give device=cpu; then train anew"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "free some disk space, then resume the run"
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return "the run's folder is read-only now: make its place writable, then resume the run"
    if is_of_environment(error):
        return "correct the environment, then resume the run"
    if is_held(error):
        return "another program, such as a spreadsheet, may have the file open: close it there, then resume the run"
    if isinstance(error, FileNotFoundError) and not folder.is_dir():
        return "the run's folder may have been moved or removed while it trained: put it back, then resume the run"
    return "resume the run once the cause is gone"


def report(error: BaseException, folder: Path, step: int, config: str) -> Path | None:
    """Write down a failure in ``crash-<step>.txt``; None where even that is not possible.

    Args:
        error: what went wrong.
        folder: of the run.
        step: of the learner.
        config: the run's, as YAML.
    """
    path = folder / f"crash-{step}.txt"
    text = "".join(traceback.format_exception(error))
    try:
        path.write_text(f"at step {step:,}: {one_line(error)}\n\n{text}\n{config}", encoding="utf-8")
    except OSError:
        return None
    return path
