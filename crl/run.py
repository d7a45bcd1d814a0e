"""One run: from a checked config to a folder of results, and on from where it stopped."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

import torch
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import Logger

import envs
from agents.learner import LearnerMixin
from crl import checkpoints, resuming, run_folder, sources, storage, summary
from crl.best import FOLDER as BEST
from crl.best import BestPart, unkept
from crl.checkpoints import CheckpointCallback
from crl.claims import Claim, ClaimLostError
from crl.config import ConfigError, RunConfig, check_arguments, config_hash
from crl.config.imports import needed_folders
from crl.config.messages import one_line
from crl.ending import Interrupt, RunError, Stop, fail, named
from crl.evaluation.part import EvaluationPart
from crl.exit_codes import DONE, FAILED
from crl.mirroring import check_installed
from crl.models import build, fixed_layers
from crl.monitoring import (
    LoggerPart,
    ProgressCallback,
    RowCallback,
    TaskCallback,
    UsagePart,
    decisions_of,
    recorder_of_run,
)
from crl.opening import opened
from crl.part_list import check_parts, configured
from crl.parts import Part, Run
from crl.results import RunResults
from crl.screen import concise_warnings, is_quiet, say, tolerant, warn
from crl.shell import typed
from crl.storage.files import move
from crl.visits import FOLDER as VISITS
from crl.visits import VisitsPart
from envs.threads import available_threads

NORMALIZER = "vecnormalize.pkl"  # SB3's own format
Training = Callable[[LearnerMixin], AbstractContextManager[object]]


class Ended(NamedTuple):
    """How a run has ended: done, or interrupted and saved."""

    results: RunResults
    code: int
    """Exit code of the command line: 0, or 130 or 143 where it was interrupted."""


def train(config: RunConfig, command: Sequence[str], parts: Sequence[Part] = ()) -> int:
    """As `begin`, for the command line: says why a run has failed, and gives the exit code."""
    return _code(lambda: begin(config, command, parts))


def resume(folder: Path, command: Sequence[str], parts: Sequence[Part] = ()) -> int:
    """As `resume_opened`, in a folder that it opens.

    Raises:
        ConfigError: as `go_on`, or the folder is of no run.
    """
    with opened(folder) as config:
        return resume_opened(folder, config, command, parts)


def resume_opened(folder: Path, config: RunConfig, command: Sequence[str], parts: Sequence[Part] = ()) -> int:
    """As `go_on`, for the command line: says why a run has failed, and gives the exit code."""
    return _code(lambda: go_on(folder, config, command, parts))


def _code(run: Callable[[], Ended]) -> int:
    try:
        return run().code
    except RunError as error:
        print(f"crl: {error}", file=sys.stderr)
        return FAILED


def begin(
    config: RunConfig,
    command: Sequence[str],
    parts: Sequence[Part] = (),
    interrupt: Interrupt | None = None,
    claim: Claim | None = None,
    training: Training = nullcontext,
) -> Ended:
    """Train what `config` describes, into a folder of its own.

    Args:
        config: checked, see `crl.config`.
        command: the words of the command line, for ``command.txt``.
        parts: that the run has beside its own, see `crl.parts`.
        interrupt: how signals interrupt it; left out, as on the command line.
        claim: of the folder, which holds no run yet; left out, one is made below ``runs``.
        training: entered with the learner while that trains.

    Raises:
        ConfigError: something does not fit; nothing has been written.
        RunError: it has failed.
    """
    started = time.perf_counter()
    torch.set_num_threads(_threads(config))
    config, model, env = _built(config)
    all_parts = _parts(config, model, env.stream, parts)
    if (sentence := unkept(env.stream, config.checkpoint.every, config.agent.rollout)) is not None:
        warn(sentence)
    news, source = [env.rounding, *env.mapping, *fixed_layers(model)], None
    if config.source is not None:
        try:
            source = sources.beginning(config.source, model)
        except ConfigError:
            _close(env)
            raise
        for sentence in source.warnings:
            warn(sentence)
        config = sources.begun(config, source)
        news += source.news
    with (
        interrupt or Interrupt() as interrupt,
        run_folder.locked(run_folder.create(config)) if claim is None else nullcontext(claim) as held,
    ):
        return _go(Run(config, model, env, held, started, training), all_parts, command, interrupt, news, source=source)


def go_on(
    folder: Path,
    config: RunConfig,
    command: Sequence[str],
    parts: Sequence[Part] = (),
    interrupt: Interrupt | None = None,
    claim: Claim | None = None,
    training: Training = nullcontext,
) -> Ended:
    """Go on with a run from its newest checkpoint that is whole and fits the logs; from the start, if there is none.

    Args:
        folder: of the run, which has been opened, see `crl.opening`.
        config: that it has.
        command: the words of the command line.
        parts: as it was begun with.
        interrupt: as for `begin`.
        claim: of the folder; left out, it is claimed.
        training: as for `begin`.

    Raises:
        ConfigError: the run is finished or being trained; or its config was changed; or its newest checkpoint or its
            logs do not fit. Nothing has been changed.
        RunError: it has failed.
    """
    started = time.perf_counter()
    check_installed(config.services)
    config = check_arguments(config)
    run_folder.refuse_changed(folder, config)  # by another version of crl or of a module, that gives other arguments
    with run_folder.locked(folder) if claim is None else nullcontext(claim) as held:
        resuming.refuse_finished(folder)
        for parent in (folder / checkpoints.FOLDER, folder / BEST, folder / VISITS):
            storage.recover(parent)
        found, passed_over = resuming.newest(folder, config)
        saved = resuming.saved_by(found, config)
        threads = saved["threads"] if saved and config.threads == "auto" else _threads(config)
        torch.set_num_threads(threads)
        config, model, env = _built(config)
        all_parts = _parts(config, model, env.stream, parts)
        if found is None and config.source is not None:
            sources.begin_again(folder, model)
        changed = resuming.differences(saved, model.device, threads)
        for sentence in [*passed_over, *resuming.lost(folder, found, saved), *changed]:
            warn(sentence)
        with interrupt or Interrupt() as interrupt:
            interrupt.saved = found
            nothing = "no checkpoint can be gone on from" if passed_over else "there is no checkpoint yet"
            how = f"starting again: {nothing}" if found is None else f"going on from {found}"
            return _go(Run(config, model, env, held, started, training), all_parts, command, interrupt, [how], found)


def _built(config: RunConfig) -> tuple[RunConfig, LearnerMixin, envs.StreamVectorEnv]:
    with warnings.catch_warnings(record=True) as caught:
        config, model, env = build(config)
    for warning in caught:  # held back till here, so that a refusal is one sentence
        warn(one_line(warning.message))
    return config, model, env


def _threads(config: RunConfig) -> int:
    return available_threads() if config.threads == "auto" else config.threads


# ------------------------------------------------------------------ parts


class _Parts(NamedTuple):
    """The parts of a run, but the one that writes checkpoints."""

    usage: UsagePart
    tasks: TaskCallback
    best: BestPart
    progress: ProgressCallback
    all: list[Part]


def _parts(config: RunConfig, model: LearnerMixin, stream: envs.TaskStream, others: Sequence[Part]) -> _Parts:
    usage, tasks = UsagePart(), TaskCallback(stream)
    evaluates = config.evaluation.every is not None
    evaluation = [EvaluationPart(config, stream, usage)] if evaluates else []
    fits = config.diagnostics.trainability
    recorder = recorder_of_run(model, tasks, config.seed, evaluates=evaluates, fits=fits)
    recorders = [tasks, recorder, *evaluation, *decisions_of(model.interventions), *configured(config), *others]
    best, progress = BestPart(tasks), ProgressCallback(tasks)
    kept = [best, VisitsPart(stream)] if config.checkpoint.visits else [best]
    parts = [usage, LoggerPart(), *recorders, RowCallback(recorders), progress, *kept]
    check_parts([CheckpointCallback, *parts])
    return _Parts(usage, tasks, best, progress, parts)


# ------------------------------------------------------------------ training


def _go(
    run: Run,
    parts: _Parts,
    command: Sequence[str],
    interrupt: Interrupt,
    news: Sequence[str | None],
    resumed: Path | None = None,
    source: sources.Beginning | None = None,
) -> Ended:
    """Train, save and show; a failure leaves a report of it."""

    def begin() -> None:
        """The folder may be changed: all that could be refused has been read and put back."""
        storage.set_aside(run.folder / checkpoints.FOLDER, resumed)
        for sentence in [*news, f"run folder: {run.folder}"]:
            if sentence is not None:
                say(sentence)
        run_folder.describe(run.folder, typed(command), torch.get_num_threads(), str(run.model.device))

    try:
        run.claim.check()  # building it may have taken long
        checkpoints.check_places(run.folder, {task.family for task in run.env.stream.tasks})
        if source is not None:  # before the config, with which this is a run: that never needs its source again
            sources.keep(run.folder, source)
        if resumed is None:  # its config must not be lost, whenever this process is killed
            run_folder.write_config(run.folder, run.config)
        results = _learn(run, parts, interrupt, begin, resumed)
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
    finally:
        _close(run.env)
    if not is_quiet():
        with tolerant():
            summary.show(results, needed_folders(run.config.modules()))
    return Ended(results, interrupt.code if results.status == "interrupted" else DONE)


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


def _close(env: envs.StreamVectorEnv) -> None:
    """What goes wrong here costs nothing: everything has been written."""
    try:
        env.close()
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        warn(f"the environment could not be closed ({named(error)})")


def _learn(
    run: Run, parts: _Parts, interrupt: Interrupt, begin: Callable[[], None], resumed: Path | None
) -> RunResults:
    """Train through the whole stream, and save the agent."""
    config, model, stream = run.config, run.model, run.env.stream
    saver = CheckpointCallback(parts.all, parts.best, interrupt, begin, config.checkpoint.every, resumed)
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


def _train(run: Run, parts: _Parts, saver: CheckpointCallback) -> float:
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
