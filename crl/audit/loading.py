"""A run's checkpoint -> its agent, with transitions of a task to look at."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from stable_baselines3.common.logger import Logger

import envs
from agents.learner import LearnerMixin
from agents.training_state import restore_learnt
from crl import checkpoints, storage
from crl.config import AgentConfig, AtSwitchConfig, ConfigError, RunConfig
from crl.config.messages import nearest, one_line, shown
from crl.models import build
from crl.models.environment import played

PLAYED = 8  # transitions for each that is sampled: a replay buffer is drawn from with replacement
LEARNT = ("learner", "world")


def newest_checkpoint(folder: Path) -> Path:
    """The newest checkpoint of a run that is whole.

    Raises:
        ConfigError: there is none.
    """
    found, passed_over = storage.newest(folder / checkpoints.FOLDER, LEARNT)
    for sentence in passed_over:
        print(f"crl: warning: {sentence}", file=sys.stderr)
    if found is None:
        raise ConfigError(f"the run folder {str(folder)!r} has no checkpoint that is whole; audit another run")
    return found


@dataclass(frozen=True)
class Played:
    """An agent that has played.

    Attributes:
        model: with the transitions in its buffer.
        steps: of training, after which it was saved.
        task: that was played.
        seed: of games and actions.
    """

    model: LearnerMixin
    steps: int
    task: str
    seed: int

    @property
    def transitions(self) -> int:
        """How many there are to draw from."""
        return int(self.model.buffer.buffer_size * self.model.buffer.n_envs)


def play(checkpoint: Path, config: RunConfig, task: str | None, samples: int, seed: int) -> Played:
    """The agent of a checkpoint, after one rollout of `task`, or with a full replay buffer of it.

    Args:
        checkpoint: its folder, named after the steps of training.
        config: of the run.
        task: a name; None for the task that the run was in at the checkpoint.
        samples: transitions that will be drawn; a replay buffer gets eight times as many, so that few come twice.
        seed: of games and actions.

    Raises:
        ConfigError: the agent cannot be built or does not fit the checkpoint, or the task is not one of the run's.
    """
    # Interventions act in training alone. A run of a GPU machine can be looked at without one.
    device = "auto" if config.device.startswith("cuda") else config.device
    agent = _with_room(config.agent, samples)
    update = {"agent": agent, "interventions": (), "at_switch": AtSwitchConfig(), "device": device}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run has said them
        config, model, env = build(config.model_copy(update=update))
    steps, total = int(checkpoint.name), env.stream.total_steps
    assert total is not None
    chosen = _task(env.stream, task, steps)
    env.close()
    model.set_env(played(config, _games(chosen, config)))
    _load(model, checkpoint)
    model.set_random_seed(seed)
    model.set_logger(Logger(folder=None, output_formats=[]))  # SB3 makes a folder where none is given
    model.fill_buffer()
    model._update_current_progress_remaining(min(steps, total), total)  # the clipping range of that time
    return Played(model, steps, chosen.name, seed)


def _with_room(agent: AgentConfig, samples: int) -> AgentConfig:
    """The agent with a replay buffer for `PLAYED` transitions for each that will be drawn, where it has one."""
    if agent.spec.data != "replay":
        return agent
    size = max(-(-PLAYED * samples // agent.n_envs) * agent.n_envs, agent.rollout)
    return agent.model_copy(update={"buffer_size": size})


def _task(stream: envs.TaskStream, name: str | None, steps: int) -> envs.Task:
    if name is None:
        return stream.segment(stream.at(max(steps - 1, 0))).task
    tasks = {task.name: task for task in stream.tasks}
    if name not in tasks:
        raise ConfigError(f"--task {shown(name)} is no task of this run; {nearest(name, tasks)}")
    return tasks[name]


def _games(task: envs.Task, config: RunConfig) -> envs.StreamVectorEnv:
    """Games of one task alone; all tasks of a stream have the same spaces."""
    stream = envs.TaskStream.build([task], steps_per_task=None)
    return envs.StreamVectorEnv(stream, config.agent.n_envs)


def _load(model: LearnerMixin, checkpoint: Path) -> None:
    try:
        restore_learnt(model, storage.read(checkpoint, LEARNT))
    except RuntimeError as error:  # torch's, on other names or shapes
        raise ConfigError(
            f"the checkpoint {str(checkpoint)!r} does not fit the run's config.yaml ({one_line(error)}); "
            "put the config back with which it was trained"
        ) from error
    except (storage.DamagedError, *checkpoints.UNFIT) as error:
        raise ConfigError(
            f"the checkpoint {str(checkpoint)!r} cannot be read ({one_line(error)}); it is damaged, audit another run"
        ) from error
