"""One run: from a checked config to a folder of results."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import configure

import envs
from agents.learner import LearnerMixin
from agents.off_policy import OffPolicyMixin
from crl import folder as folders
from crl import results as reports
from crl.checkpoint import beside_policy, save_policy
from crl.config import RunConfig, config_hash, to_yaml
from crl.config.messages import one_line
from crl.exit_codes import DONE, FAILED, INTERRUPTED
from crl.models import build, fixed_layers
from crl.monitoring import PlasticityRecorder, ProgressCallback, RowCallback, TaskCallback
from crl.screen import is_terminal, say, tolerant

MEASURE_EVERY = 8192  # steps between two measures of plasticity
# Of them at least in each visit, where rollouts are short enough; DQN and SAC measure with their rows, of which there
# is one every 1,000 steps at most.
MEASURES = 16
NORMALIZER = "vecnormalize.pkl"  # SB3's own format


class Interrupt:
    """Ctrl-C as a wish that training grants between two steps; a second one ends the process at once."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Self:
        self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        # os.write, because a handler may come while print holds the stream.
        if self.asked:
            if is_terminal():
                os.write(1, b"\x1b[?25h")  # the progress bar hides the cursor
            os._exit(INTERRUPTED)
        self.asked = True
        os.write(2, b"\nstopping and saving; Ctrl-C again exits at once\n")


class _Clock(BaseCallback):
    """Seconds from the first step to the end of the last update, and the stop between two steps."""

    def __init__(self, interrupt: Interrupt) -> None:
        super().__init__()
        self._interrupt = interrupt
        self._first: float | None = None
        self.stopped = False

    def _on_rollout_start(self) -> None:
        self._first = time.perf_counter() if self._first is None else self._first

    def _on_step(self) -> bool:
        self.stopped = self._interrupt.asked
        return not self.stopped

    def seconds(self) -> float:
        return 0.0 if self._first is None else time.perf_counter() - self._first


def train(config: RunConfig, command: Sequence[str]) -> int:
    """Train what `config` describes, into a folder of its own.

    Args:
        config: checked, see `crl.config`.
        command: the words of the command line, for ``command.txt``.

    Returns:
        The exit code: 0 done, 1 failed, 130 interrupted and saved.

    Raises:
        ConfigError: something does not fit; nothing has been written.
    """
    started = time.perf_counter()
    threads = folders.available_threads() if config.threads == "auto" else config.threads
    torch.set_num_threads(threads)
    with warnings.catch_warnings(record=True) as caught:
        config, model, env = build(config)
    for warning in caught:  # held back till here, so that a refusal is one sentence
        print(f"crl: warning: {one_line(warning.message)}", file=sys.stderr)
    with Interrupt() as interrupt:
        folder = folders.create(config)
        if env.rounding is not None:
            say(env.rounding)
        for sentence in fixed_layers(model):
            say(sentence)
        say(f"run folder: {folder}")
        try:
            _describe(config, folder, command, folders.versions(threads, str(model.device)))
            results = _learn(config, model, env, folder, interrupt)
            _save(config, model, folder)
            results["seconds"] = time.perf_counter() - started
            reports.write(results, folder)
        except Exception as error:
            (folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
            problem = f"{type(error).__name__}: {one_line(error)}"
            print(f"crl: the run failed with {problem}; the traceback is in {folder / 'error.txt'}", file=sys.stderr)
            return FAILED
        finally:
            env.close()
    with tolerant():
        reports.show(results)
    return INTERRUPTED if results["status"] == "interrupted" else DONE


def _describe(config: RunConfig, folder: Path, command: Sequence[str], versions: str) -> None:
    """The files that say what was run, and how."""
    (folder / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    # A path need not be valid text.
    (folder / "command.txt").write_text(shlex.join(command) + "\n", encoding="utf-8", errors="surrogateescape")
    (folder / "versions.txt").write_text(versions, encoding="utf-8")


def _learn(
    config: RunConfig, model: LearnerMixin, env: envs.StreamVectorEnv, folder: Path, interrupt: Interrupt
) -> dict[str, Any]:
    """Train through the whole stream; what ``results.json`` says of it."""
    tasks = TaskCallback(env.stream)
    every = min(MEASURE_EVERY, tasks.total_steps // env.stream.n_segments // MEASURES)
    rows = RowCallback([tasks, PlasticityRecorder(model, tasks, config.seed, every)])
    progress, clock = ProgressCallback(tasks), _Clock(interrupt)
    # Their rows are written by `rows`, and not one for each finished episode.
    options: dict[str, Any] = {"log_interval": None} if isinstance(model, OffPolicyMixin) else {}
    logger = configure(str(folder), ["csv", "tensorboard"])
    model.set_logger(logger)
    try:
        model.learn(tasks.total_steps, callback=CallbackList([tasks, rows, progress, clock]), **options)
        train_seconds = clock.seconds()
    finally:
        progress.close()
        logger.close()
    return {
        "status": "interrupted" if clock.stopped else "done",
        "steps": min(model.num_timesteps, tasks.total_steps),
        "train_seconds": train_seconds,
        "gradient_steps": model.optimizer_steps,
        "visits": tasks.visits(),
        "resets": model.units_reset(),
        "config_hash": config_hash(config),
        "folder": str(folder),
        "tensorboard": reports.tensorboard_command(Path(config.runs)),
    }


def _save(config: RunConfig, model: LearnerMixin, folder: Path) -> None:
    checkpoint = folder / "checkpoints" / str(model.num_timesteps)
    save_policy(model, checkpoint, {"config.yaml": to_yaml(config)}, beside_policy(model))
    if model._vec_normalize_env is not None:
        model._vec_normalize_env.save(str(folder / NORMALIZER))  # without it model.zip cannot tell what it sees
    unfinished = folder / ".model.zip"
    model.save(unfinished)
    unfinished.replace(folder / "model.zip")
