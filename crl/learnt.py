"""What a run has learnt, to look at it: a checkpoint -> its agent."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import envs
from agents.learner import LearnerMixin
from agents.training_state import restore_learnt
from crl import checkpoints, storage, visits
from crl.config import AgentConfig, AtSwitchConfig, ConfigError, RunConfig
from crl.config.messages import one_line
from crl.config.schema import InterventionConfig
from crl.models import build
from crl.screen import warn

LEARNT = ("learner", "world")
"""What of a checkpoint is needed."""


def newest_checkpoint(folder: Path) -> Path:
    """The newest checkpoint of a run that is whole.

    Raises:
        ConfigError: there is none.
    """
    found, passed_over = storage.newest(folder / checkpoints.FOLDER, LEARNT)
    for sentence in passed_over:
        warn(sentence)
    if found is None:
        raise ConfigError(f"the run folder {str(folder)!r} has no checkpoint that is whole; give another run")
    return found


def by_step(folder: Path) -> dict[int, Path]:
    """Step -> the folder of what a run has kept there: at the end of a visit, or as a checkpoint.

    Raises:
        ConfigError: there is none.
    """
    parents = (folder / visits.FOLDER, folder / checkpoints.FOLDER)
    found = {int(path.name): path for parent in parents for path in storage.checkpoints_in(parent)}
    if not found:
        raise ConfigError(f"{str(folder)!r} has no checkpoint that is named after its step; give another run")
    return found


def saved_at(folder: Path, step: int, others: str = "") -> Path:
    """What a run has kept at a step.

    Args:
        folder: of the run.
        step: of a checkpoint or of a visit's end.
        others: what else could be given, for the message, such as ``, best or all``.

    Raises:
        ConfigError: nothing is kept there.
    """
    there = by_step(folder)
    if step not in there:
        nearest_step = min(there, key=lambda known: abs(known - step))
        raise ConfigError(
            f"--checkpoint {step} is not in {str(folder)!r}, where {nearest_step} is the nearest step; give that"
            f"{others}"
        )
    return there[step]


def agent_of(
    config: RunConfig, transitions: int = 0, interventions: Sequence[InterventionConfig] = ()
) -> tuple[RunConfig, LearnerMixin, envs.StreamVectorEnv]:
    """The agent of a run with the run's stream, and without its interventions, which act in training alone.

    Args:
        config: of the run.
        transitions: for which a replay buffer is to have room.
        interventions: that it has, if it is to be trained.

    Raises:
        ConfigError: the agent cannot be built.
    """
    # A run of a GPU machine can be looked at without one.
    device = "auto" if config.device.startswith("cuda") else config.device
    agent = _with_room(config.agent, transitions)
    update = {"agent": agent, "interventions": tuple(interventions), "at_switch": AtSwitchConfig(), "device": device}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run has said them
        return build(config.model_copy(update=update))


def _with_room(agent: AgentConfig, transitions: int) -> AgentConfig:
    """The agent with a replay buffer for so many transitions, and for a rollout, where it has one."""
    if agent.spec.data != "replay":
        return agent
    size = max(-(-transitions // agent.n_envs) * agent.n_envs, agent.rollout)
    return agent.model_copy(update={"buffer_size": size})


def load(model: LearnerMixin, checkpoint: Path) -> None:
    """Put back what was learnt.

    Args:
        model: of `agent_of`.
        checkpoint: its folder.

    Raises:
        ConfigError: it is damaged, or does not fit.
    """
    try:
        restore_learnt(model, storage.read(checkpoint, LEARNT))
    except RuntimeError as error:  # torch's, on other names or shapes
        raise ConfigError(
            f"the checkpoint {str(checkpoint)!r} does not fit the run's config.yaml ({one_line(error)}); "
            "put the config back with which it was trained"
        ) from error
    except (storage.DamagedError, *checkpoints.UNFIT) as error:
        raise ConfigError(
            f"the checkpoint {str(checkpoint)!r} cannot be read ({one_line(error)}); it is damaged, give another run"
        ) from error
