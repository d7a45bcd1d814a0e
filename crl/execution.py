"""A run on its way: it is trained through its whole stream, saved and shown, and a failure leaves a report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import torch
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import Logger

from crl import checkpoints, run_folder, sources, storage, summary
from crl.checkpoints import CheckpointCallback
from crl.claims import ClaimLostError
from crl.config import ConfigError, config_hash
from crl.config.imports import needed_folders
from crl.config.messages import one_line
from crl.ending import Interrupt, RunError, Stop, fail
from crl.exit_codes import DONE
from crl.parts import Run
from crl.results import RunResults
from crl.run_parts import RunParts
from crl.screen import concise_warnings, is_quiet, say, tolerant
from crl.shell import typed
from crl.storage.files import move

NORMALIZER = "vecnormalize.pkl"  # SB3's own format


class Ended(NamedTuple):
    """How a run has ended: done, or interrupted and saved."""

    results: RunResults
    code: int
    """Exit code of the command line: 0, or 130 or 143 where it was interrupted."""


class Start(NamedTuple):
    """From where a run starts, and what is told of it.

    Attributes:
        command: the words of the command line.
        news: sentences on what was built; None says nothing.
        checkpoint: from which it is gone on; None where it begins.
        source: what a new run begins with; None for nothing.
    """

    command: Sequence[str]
    news: Sequence[str | None]
    checkpoint: Path | None = None
    source: sources.Beginning | None = None

    def prepare(self, run: Run) -> None:
        """Make a run of its folder, before training starts.

        Raises:
            ConfigError: something lies in the way of its checkpoints.
        """
        run.claim.check()  # building it may have taken long
        checkpoints.check_places(run.folder, {task.family for task in run.env.stream.tasks})
        if self.source is not None:  # before the config, with which this is a run: that never needs its source again
            sources.keep(run.folder, self.source)
        if self.checkpoint is None:  # its config must not be lost, whenever this process is killed
            run_folder.write_config(run.folder, run.config)

    def begin(self, run: Run) -> None:
        """Change the folder and tell: all that could be refused has been read and put back."""
        storage.set_aside(run.folder / checkpoints.FOLDER, self.checkpoint)
        for sentence in [*self.news, f"run folder: {run.folder}"]:
            if sentence is not None:
                say(sentence)
        run_folder.describe(run.folder, typed(self.command), torch.get_num_threads(), str(run.model.device))


def execute(run: Run, parts: RunParts, interrupt: Interrupt, start: Start) -> Ended:
    """Train, save and show a run, and say how it ended.

    Raises:
        ConfigError: something does not fit; nothing has been changed.
        RunError: it has failed; a report of it is written, unless another process has taken the run over.
    """
    try:
        start.prepare(run)
        results = _learn(run, parts, interrupt, start)
        run.claim.check()
        results.write(run.folder)
    except ConfigError:
        raise
    except ClaimLostError as error:  # nothing is written beside the successor, no report either
        raise _lost(error) from error
    # An environment may call sys.exit, or interrupt itself; Ctrl-C comes as an exception the second time at most.
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, KeyboardInterrupt) and interrupt.code:
            raise
        _refuse_lost(run)  # what the successor does to the files may be all that went wrong
        fail(run, error)
    if not is_quiet():
        with tolerant():
            summary.show(results, needed_folders(run.config.modules()))
    return Ended(results, interrupt.code if results.status == "interrupted" else DONE)


def _learn(run: Run, parts: RunParts, interrupt: Interrupt, start: Start) -> RunResults:
    """Train through the whole stream, and save the agent."""
    config, model, stream = run.config, run.model, run.env.stream
    saver = CheckpointCallback(
        parts.all, parts.best, interrupt, lambda: start.begin(run), config.checkpoint.every, start.checkpoint
    )
    for part in (saver, *parts.all):
        part.run = run
    run.claim.report = parts.progress.report
    train_seconds = _train(run, parts, saver)
    _save(run)
    return RunResults(
        status="interrupted" if saver.stopped else "done",
        steps=min(model.num_timesteps, parts.tasks.total_steps),
        seconds=parts.usage.before + time.perf_counter() - run.started,
        train_seconds=train_seconds,
        peak_memory=parts.usage.peak_memory(),
        gradient_steps=model.optimizer_steps,
        tasks={task.name: task.arguments for task in stream.tasks},
        visits=parts.tasks.visits(),
        resets=model.units_reset(),
        idle=model.idle(),
        config_hash=config_hash(config),
        folder=str(run.folder),
        tensorboard=summary.tensorboard_command(run.folder.parent),
    )


def _train(run: Run, parts: RunParts, saver: CheckpointCallback) -> float:
    """Train to the end or to a wish to stop; the seconds that this took, in all processes of the run."""
    model = run.model
    model.set_logger(Logger(str(run.folder), []))
    model.update_ended += [run.claim.check_again, *(part.update_ended for part in (*parts.all, saver))]
    with ExitStack() as stack:
        for part in parts.all:
            stack.callback(part.close)
        stack.enter_context(run.training(model))
        try:
            with concise_warnings():
                model.learn(parts.tasks.total_steps, callback=CallbackList([saver, *parts.all]))
            seconds = parts.usage.seconds()
            if model.num_timesteps < parts.tasks.total_steps:
                raise RuntimeError(
                    f"a part ended training at step {model.num_timesteps:,}: its _on_step must return True"
                )
            saver.save()
        except Stop:
            seconds = parts.usage.seconds()
    return seconds


def _save(run: Run) -> None:
    """The agent in SB3's own format, for deployment."""
    run.claim.check()
    if run.model._vec_normalize_env is not None:
        run.model._vec_normalize_env.save(str(run.folder / NORMALIZER))  # without it model.zip cannot tell what it sees
    unfinished = run.folder / ".model.zip"
    run.model.save(unfinished)
    move(unfinished, run.folder / "model.zip")


def _lost(error: ClaimLostError) -> RunError:
    return RunError(f"{one_line(error)}, to which this one was dead; it goes on there")


def _refuse_lost(run: Run) -> None:
    """After a failure, which is not to be reported beside the successor of a run that was taken over.

    Raises:
        RunError: it was.
    """
    with suppress(OSError):
        try:
            run.claim.check()
        except ClaimLostError as error:
            raise _lost(error) from error
