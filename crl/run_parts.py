"""The parts of a run: crl's own, those that its config names, and those that its caller gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agents.learner import LearnerMixin
from crl.best import BestPart
from crl.checkpoints import CheckpointCallback
from crl.config import RunConfig
from crl.config.parts import PARTS
from crl.evaluation.part import EvaluationPart
from crl.monitoring import (
    LoggerPart,
    ProgressCallback,
    RowCallback,
    TaskCallback,
    UsagePart,
    decisions_of,
    recorder_of_run,
)
from crl.part_list import check_parts
from crl.parts import Part
from crl.visits import VisitsPart
from envs.stream import TaskStream


class RunParts(NamedTuple):
    """The parts of a run, but the one that writes checkpoints."""

    usage: UsagePart
    tasks: TaskCallback
    best: BestPart
    progress: ProgressCallback
    all: list[Part]


def parts_of(config: RunConfig, model: LearnerMixin, stream: TaskStream, others: Sequence[Part]) -> RunParts:
    """Those of a run, in the order in which they are called.

    Args:
        config: of the run, which has been checked.
        model: that it trains.
        stream: that is played.
        others: that its caller gives.

    Raises:
        ConfigError: they cannot be together.
    """
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
    return RunParts(usage, tasks, best, progress, parts)


def configured(config: RunConfig) -> list[Part]:
    """The parts that a config names, which has been checked."""
    return [PARTS[each.name].resolve()(**each.arguments()) for each in config.parts]
