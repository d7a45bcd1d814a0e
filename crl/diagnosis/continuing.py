"""Going on with an ill agent for a while: as it is, and with what was tried on copies of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from stable_baselines3.common.utils import ConstantSchedule

from agents.plasticity.findings import NEGLIGIBLE, Trial
from agents.plasticity.trials import acts_gradually, built, on_a_copy, try_out
from agents.training_state import restore_optimizers
from crl import storage
from crl.audit.loading import play
from crl.config import RunConfig
from crl.config.schema import InterventionConfig
from crl.diagnosis.continuation import MOST, SEEDS, Continuation, Continued


def continued(
    checkpoint: Path, config: RunConfig, trials: Sequence[Trial], task: str, steps: int, samples: int, probe_steps: int
) -> Continued:
    """Play and learn on from a checkpoint in the task that comes next, with the best of what was tried and without.

    What acts at once has acted once, as in its trial, and what acts gradually acts in every gradient step. The run's
    own interventions act in all of them, beginning anew, and schedules stand still at what they were. An agent with a
    replay buffer has filled it with transitions of the task before it learns. Nothing is written.

    Args:
        checkpoint: its folder, which has been read.
        config: of the run.
        trials: the best ones first; three that regain something are gone on with at most.
        task: that is played.
        steps: of the games, for each seed of each candidate.
        samples: transitions that a resetting candidate may draw from, at least.
        probe_steps: minibatches that a candidate is shown before it acts at once.
    """
    chosen = [trial.candidate for trial in trials if not trial.hindrance and trial.regained >= NEGLIGIBLE][:MOST]
    found = []
    for candidate in (None, *chosen):
        ended = [
            _ended(checkpoint, config, candidate, task, steps, samples, probe_steps, config.seed + number)
            for number in range(SEEDS)
        ]
        returns = [fmean(each) if each else math.nan for each in ended]
        found.append(Continuation(candidate, returns, [len(each) for each in ended]))
    return Continued(task, steps, found)


def _ended(
    checkpoint: Path,
    config: RunConfig,
    candidate: Mapping[str, Any] | None,
    task: str,
    steps: int,
    samples: int,
    probe_steps: int,
    seed: int,
) -> list[float]:
    """The returns of the episodes that ended meanwhile."""
    gradual = candidate is not None and acts_gradually(built(candidate))
    added = [InterventionConfig.model_validate(dict(candidate))] if candidate is not None and gradual else []
    played = play(checkpoint, config, task, samples, seed, (*config.interventions, *added))
    model = played.model
    try:
        _hold(model)
        restore_optimizers(model, storage.read(checkpoint, ("learner",))["learner"])
        if candidate is not None and not gradual:
            intervention = built(candidate)
            with on_a_copy(model, seed) as copied:
                try_out(copied, intervention, probe_steps)
                outcome = copied.outcome()
            outcome.put_into(model, intervention)
        model._stats_window_size = steps  # of episodes: no more can end
        model.learn(steps)
        assert model.ep_info_buffer is not None
        return [float(episode["r"]) for episode in model.ep_info_buffer]
    finally:
        assert model.env is not None
        model.env.close()


def _hold(model: Any) -> None:
    """Keep schedules, and how much it explores, where they were when training had come to the checkpoint."""
    model._update_current_progress_remaining = lambda *_: None
    if hasattr(model, "exploration_schedule"):  # which may have begun anew at a switch
        model.exploration_schedule = ConstantSchedule(model.exploration_rate)
    if model.replays:
        model.learning_starts = 0  # its buffer is full
    model._update_learning_rate(list(model.optimizers))
