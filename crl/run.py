"""One run: from a checked config to a folder of results, and on from where it stopped."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch

import envs
from agents.learner import LearnerMixin
from crl import checkpoints, resuming, run_folder, sources, storage
from crl.best import FOLDER as BEST
from crl.best import unkept
from crl.claims import Claim
from crl.config import RunConfig, check_arguments
from crl.config.messages import one_line
from crl.ending import Interrupt, RunError, named
from crl.execution import Ended, Start, execute
from crl.exit_codes import FAILED
from crl.mirroring import check_installed
from crl.models import build, fixed_layers
from crl.opening import opened
from crl.parts import Part, Run
from crl.run_parts import parts_of
from crl.screen import warn
from crl.visits import FOLDER as VISITS
from envs.threads import available_threads

Training = Callable[[LearnerMixin], AbstractContextManager[object]]


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
    with _built(config) as (config, model, env):
        all_parts = parts_of(config, model, env.stream, parts)
        if (sentence := unkept(env.stream, config.checkpoint.every, config.agent.rollout)) is not None:
            warn(sentence)
        news, source = [env.rounding, *env.mapping, *fixed_layers(model)], None
        if config.source is not None:
            source = sources.beginning(config.source, model)
            for sentence in source.warnings:
                warn(sentence)
            config = sources.begun(config, source)
            news += source.news
        with (
            interrupt or Interrupt() as interrupt,
            run_folder.locked(run_folder.create(config)) if claim is None else nullcontext(claim) as held,
        ):
            run = Run(config, model, env, held, started, training)
            return execute(run, all_parts, interrupt, Start(command, news, source=source))


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
        with _built(config) as (config, model, env):
            all_parts = parts_of(config, model, env.stream, parts)
            if found is None and config.source is not None:
                sources.begin_again(folder, model)
            changed = resuming.differences(saved, model.device, threads)
            for sentence in [*passed_over, *resuming.lost(folder, found, saved), *changed]:
                warn(sentence)
            with interrupt or Interrupt() as interrupt:
                interrupt.saved = found
                nothing = "no checkpoint can be gone on from" if passed_over else "there is no checkpoint yet"
                how = f"starting again: {nothing}" if found is None else f"going on from {found}"
                run = Run(config, model, env, held, started, training)
                return execute(run, all_parts, interrupt, Start(command, [how], found))


@contextmanager
def _built(config: RunConfig) -> Iterator[tuple[RunConfig, LearnerMixin, envs.StreamVectorEnv]]:
    """What a run trains and plays; the games are closed at the end, also where something is refused."""
    with warnings.catch_warnings(record=True) as caught:
        config, model, env = build(config)
    for warning in caught:  # held back till here, so that a refusal is one sentence
        warn(one_line(warning.message))
    try:
        yield config, model, env
    finally:
        _close(env)


def _close(env: envs.StreamVectorEnv) -> None:
    """Close the games of a run. What goes wrong here costs nothing: everything has been written."""
    try:
        env.close()
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        warn(f"the environment could not be closed ({named(error)})")


def _threads(config: RunConfig) -> int:
    return available_threads() if config.threads == "auto" else config.threads
