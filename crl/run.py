"""One run: from a checked config to a folder of results, and on from where it stopped."""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import Logger

import envs
from agents.learner import LearnerMixin
from agents.off_policy import OffPolicyMixin
from crl import checkpoints, logs, resuming, storage
from crl import folder as folders
from crl import results as reports
from crl.checkpoints import CheckpointCallback
from crl.config import ConfigError, RunConfig, check_interventions, config_hash, to_yaml
from crl.config.messages import one_line
from crl.ending import Interrupt, Stop, cause, named, remedy, report
from crl.exit_codes import DONE, FAILED
from crl.models import build, fixed_layers
from crl.monitoring import PlasticityRecorder, ProgressCallback, RowCallback, TaskCallback
from crl.opening import opened
from crl.screen import concise_warnings, say, tolerant, warn

MEASURE_EVERY = 8192  # steps between two measures of plasticity
# Of them at least in each visit, where rollouts are short enough; DQN and SAC measure with their rows, of which there
# is one every 1,000 steps at most.
MEASURES = 16
# Of so many visits not each is measured: all measures, on a probe of its own, take as long as a fifth of a rollout.
MANY_VISITS = 100
MEASURES_OF_MANY = 500
NORMALIZER = "vecnormalize.pkl"  # SB3's own format


@dataclass(frozen=True)
class _Run:
    """What is trained, and where it is written."""

    config: RunConfig
    model: LearnerMixin
    env: envs.StreamVectorEnv
    folder: Path
    started: float
    """When, by ``time.perf_counter``; where the run was resumed as long ago as it has taken in all."""


def train(config: RunConfig, command: Sequence[str]) -> int:
    """Train what `config` describes, into a folder of its own.

    Args:
        config: checked, see `crl.config`.
        command: the words of the command line, for ``command.txt``.

    Returns:
        The exit code: 0 done, 1 failed, 130 or 143 interrupted and saved.

    Raises:
        ConfigError: something does not fit; nothing has been written.
    """
    started = time.perf_counter()
    torch.set_num_threads(_threads(config))
    config, model, env = _built(config)
    with Interrupt() as interrupt:
        run = _Run(config, model, env, folders.create(config), started)
        with folders.locked(run.folder):
            return _go(run, command, interrupt, [env.rounding, *fixed_layers(model)])


def resume(folder: Path, command: Sequence[str]) -> int:
    """Go on with a run from its newest checkpoint that is whole and fits the logs; from the start, if there is none.

    Args:
        folder: of the run.
        command: the words of the command line.

    Returns:
        As `train`.

    Raises:
        ConfigError: the folder is of no run, or of one that is finished or being trained; or its config was changed; or
            its newest checkpoint or its logs do not fit. Nothing has been changed.
    """
    with opened(folder) as config:
        return resume_opened(folder, config, command)


def resume_opened(folder: Path, config: RunConfig, command: Sequence[str]) -> int:
    """As `resume`, in a folder that has been opened, see `crl.opening`, with the config that it has."""
    started = time.perf_counter()
    config = check_interventions(config)
    folders.refuse_changed(folder, config)  # by another version of crl or of a module, that gives other arguments
    with folders.locked(folder):
        resuming.refuse_finished(folder)
        for parent in (folder / checkpoints.FOLDER, folder / checkpoints.BEST):
            storage.recover(parent)
        found, passed_over = resuming.newest(folder, config)
        saved = resuming.saved_by(found, config)
        threads = saved["threads"] if saved and config.threads == "auto" else _threads(config)
        torch.set_num_threads(threads)
        config, model, env = _built(config)
        changed = resuming.differences(saved, model.device, threads)
        for sentence in [*passed_over, *resuming.lost(folder, found, saved), *changed]:
            warn(sentence)
        with Interrupt() as interrupt:
            interrupt.saved = found
            nothing = "no checkpoint can be gone on from" if passed_over else "there is no checkpoint yet"
            how = f"starting again: {nothing}" if found is None else f"going on from {found}"
            started -= saved["seconds"] if saved else 0.0
            return _go(_Run(config, model, env, folder, started), command, interrupt, [how], found)


def _built(config: RunConfig) -> tuple[RunConfig, LearnerMixin, envs.StreamVectorEnv]:
    with warnings.catch_warnings(record=True) as caught:
        config, model, env = build(config)
    for warning in caught:  # held back till here, so that a refusal is one sentence
        warn(one_line(warning.message))
    return config, model, env


# ------------------------------------------------------------------ resuming


def _threads(config: RunConfig) -> int:
    return folders.available_threads() if config.threads == "auto" else config.threads


# ------------------------------------------------------------------ training


def _go(
    run: _Run, command: Sequence[str], interrupt: Interrupt, news: Sequence[str | None], resumed: Path | None = None
) -> int:
    """Train, save and show; a failure leaves a report of it."""

    def begin(lengths: Mapping[str, int]) -> None:
        """The first change to a folder that is resumed: all that could be refused has been read and put back."""
        logs.truncate(run.folder, lengths)
        storage.set_aside(run.folder / checkpoints.FOLDER, resumed)
        for sentence in [*news, f"run folder: {run.folder}"]:
            if sentence is not None:
                say(sentence)
        _describe(run, command)
        logs.open_logs(run.folder, run.model.logger)

    try:
        checkpoints.check_places(run.folder, {task.family for task in run.env.stream.tasks})
        if resumed is None:  # its config must not be lost, whenever this process is killed
            folders.write_config(run.folder, run.config)
        results = _learn(run, interrupt, begin, resumed)
        _save(run)
        results["seconds"] = time.perf_counter() - run.started
        reports.write(results, run.folder)
    except ConfigError:
        raise
    # An environment may call sys.exit, or interrupt itself; Ctrl-C does not come as an exception, see `Interrupt`.
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        return _failed(run, error)
    finally:
        _close(run.env)
    with tolerant():
        reports.show(results)
    return interrupt.code if results["status"] == "interrupted" else DONE


def _failed(run: _Run, error: BaseException) -> int:
    """Say what happened; the newest checkpoint is what was before it."""
    step = run.model.num_timesteps
    with contextlib.suppress(RuntimeError):  # a device that is out of memory has none to look at parameters either
        error = cause(error, run.model.policy, run.model._last_obs, run.env.task)
    path = report(error, run.folder, step, to_yaml(run.config))
    where = "no report could be written" if path is None else f"the report is in {path}"
    print(f"crl: the run failed at step {step:,} with {named(error)}; {remedy(error)} ({where})", file=sys.stderr)
    return FAILED


def _close(env: envs.StreamVectorEnv) -> None:
    """What goes wrong here costs nothing: everything has been written."""
    try:
        env.close()
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        warn(f"the environment could not be closed ({named(error)})")


def _describe(run: _Run, command: Sequence[str]) -> None:
    """The files that say how it was run, each time that it was begun or resumed."""
    # A path need not be valid text.
    with (run.folder / "command.txt").open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(reports.typed(command) + "\n")
    versions = folders.versions(torch.get_num_threads(), str(run.model.device))
    with (run.folder / "versions.txt").open("a", encoding="utf-8") as file:
        file.write(f"\n{versions}" if file.tell() else versions)


def _learn(
    run: _Run, interrupt: Interrupt, begin: Callable[[Mapping[str, int]], None], resumed: Path | None
) -> dict[str, Any]:
    """Train through the whole stream; what ``results.json`` says of it."""
    config, model, stream = run.config, run.model, run.env.stream
    tasks = TaskCallback(stream)
    many = stream.n_segments > MANY_VISITS
    every = (
        max(MEASURE_EVERY, tasks.total_steps // MEASURES_OF_MANY)
        if many
        else min(MEASURE_EVERY, tasks.total_steps // stream.n_segments // MEASURES)
    )
    plasticity = PlasticityRecorder(model, tasks, config.seed, every, each_visit=not many)
    rows, progress = RowCallback([tasks, plasticity]), ProgressCallback(tasks)
    saver = CheckpointCallback(
        run.folder, config, interrupt, begin,
        tasks=tasks, rows=rows, plasticity=plasticity, progress=progress, resumed=resumed,
    )  # fmt: skip
    # Their rows are written by `rows`, and not one for each finished episode.
    options: dict[str, Any] = {"log_interval": None} if isinstance(model, OffPolicyMixin) else {}
    model.set_logger(Logger(str(run.folder), []))
    try:
        try:
            with concise_warnings():
                model.learn(tasks.total_steps, callback=CallbackList([tasks, rows, progress, saver]), **options)
            train_seconds = saver.seconds()
            saver.save()
        except Stop:
            train_seconds = saver.seconds()
    finally:
        progress.close()
        logs.close_logs(model.logger)
    return {
        "status": "interrupted" if saver.stopped else "done",
        "steps": min(model.num_timesteps, tasks.total_steps),
        "train_seconds": train_seconds,
        "peak_memory": saver.peak_memory(),
        "gradient_steps": model.optimizer_steps,
        "tasks": {task.name: task.arguments for task in stream.tasks},
        "visits": tasks.visits(),
        "resets": model.units_reset(),
        "config_hash": config_hash(config),
        "folder": str(run.folder),
        "tensorboard": reports.tensorboard_command(Path(config.runs)),
    }


def _save(run: _Run) -> None:
    """The agent in SB3's own format, for deployment."""
    if run.model._vec_normalize_env is not None:
        run.model._vec_normalize_env.save(str(run.folder / NORMALIZER))  # without it model.zip cannot tell what it sees
    unfinished = run.folder / ".model.zip"
    run.model.save(unfinished)
    unfinished.replace(run.folder / "model.zip")
