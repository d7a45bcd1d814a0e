"""From a run's checkpoints to its diagnosis."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from agents.learner import LearnerMixin
from agents.plasticity.diagnosis import Diagnosis, Examination, Trial
from agents.plasticity.diagnostics.fit.probe import STEPS
from agents.training_state import restore_optimizers
from crl import storage
from crl.audit.loading import play
from crl.checkpoints import UNFIT
from crl.config import ConfigError, RunConfig
from crl.config.messages import one_line
from crl.diagnosis.continuation import Continued
from crl.diagnosis.continuing import continued
from crl.diagnosis.source import Origin, origin_of
from crl.learnt import by_step, newest_checkpoint, saved_at
from envs.threads import available_threads


@dataclass(frozen=True)
class Examined:
    """A run that was diagnosed.

    Attributes:
        folder: of the run.
        steps: of training, after which.
        earliest: step of the earliest parameters that the run has kept.
        task: that was played for the observations.
        probe_steps: of the fit probe.
        seconds: that it took.
        diagnosis: what was found.
        origin: where that comes from.
        trials: what interventions would do, where the networks learn less than fresh ones.
        continued: what came of going on with the best of them; None where that was not asked for, or nothing was tried.
    """

    folder: Path
    steps: int
    earliest: int
    task: str
    probe_steps: int
    seconds: float
    diagnosis: Diagnosis
    origin: Origin = field(default_factory=Origin)
    trials: Sequence[Trial] = ()
    continued: Continued | None = None


def examined(
    folder: Path, config: RunConfig, step: int | None, samples: int, probe_steps: int | None, go_on: int = 0
) -> Examined:
    """Diagnose what a run had learnt at a step.

    Args:
        folder: of the run.
        config: of the run.
        step: of a checkpoint or of a visit's end that is kept; None for the newest checkpoint.
        samples: transitions that are played, at least.
        probe_steps: of the fit probe; None for 100.
        go_on: steps of the games for which the agent goes on with the best of what was tried; 0 for not at all.

    Raises:
        ConfigError: there is no such checkpoint, or the agent does not fit it.
    """
    started, probe_steps = time.perf_counter(), STEPS if probe_steps is None else probe_steps
    torch.set_num_threads(available_threads())
    path = newest_checkpoint(folder) if step is None else saved_at(folder, step)
    played = play(path, config, None, samples, config.seed)
    model = played.model
    try:
        try:
            model._update_learning_rate(list(model.optimizers))  # a visit's end has kept none
            restore_optimizers(model, storage.read(path, ("learner",))["learner"])
        except (storage.DamagedError, *UNFIT) as error:
            raise _unreadable(path, error) from error
        kept = {at: path for at, path in by_step(folder).items() if at <= played.steps}
        examination = Examination(model, seed=config.seed, steps=probe_steps)
        diagnosis = examination.diagnose(history=_Kept(model, kept))
        origin = origin_of(folder, config, played.steps, model, diagnosis)
        trials = examination.match(diagnosis) if diagnosis.is_harmed else ()
    finally:
        assert model.env is not None
        model.env.close()
    further = (
        continued(path, config, trials, played.next_task, go_on, samples, probe_steps) if trials and go_on else None
    )
    seconds, earliest = time.perf_counter() - started, min(kept)
    return Examined(
        folder, played.steps, earliest, played.task, probe_steps, seconds, diagnosis, origin, trials, further
    )


class _Kept(Mapping[int, Mapping[str, Tensor]]):
    """Step -> the parameters that were kept there, read when they are asked for."""

    def __init__(self, model: LearnerMixin, paths: Mapping[int, Path]) -> None:
        self._like, self._paths = model.snapshot(), paths
        self._saved = model.policy.state_dict().keys()  # buffers need not be

    def __iter__(self) -> Iterator[int]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, step: int) -> Mapping[str, Tensor]:
        path = self._paths[step]
        try:
            saved = storage.read(path, ("learner",))["learner"]["modules"]["policy"]
            found = {name: saved[name].to(own) if name in self._saved else own for name, own in self._like.items()}
            if strange := [name for name, own in self._like.items() if found[name].shape != own.shape]:
                raise ValueError(f"{strange[0]} has another shape")
        except (storage.DamagedError, *UNFIT) as error:
            raise _unreadable(path, error) from error
        return found


def _unreadable(path: Path, error: Exception) -> ConfigError:
    return ConfigError(f"{str(path)!r} cannot be read ({one_line(error)}); it is damaged, remove it")
