"""A run's checkpoint -> its agent, with transitions of a task to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stable_baselines3.common.logger import Logger

import envs
from agents.learner import LearnerMixin
from crl.config import ConfigError, RunConfig
from crl.config.messages import nearest, shown
from crl.config.schema import InterventionConfig
from crl.learnt import agent_of, load
from crl.models.environment import played

PLAYED = 8  # transitions for each that is sampled: a replay buffer is drawn from with replacement


@dataclass(frozen=True)
class Played:
    """An agent that has played.

    Attributes:
        model: with the transitions in its buffer.
        steps: of training, after which it was saved.
        task: that was played.
        seed: of games and actions.
        next_task: that the run came to from there; at its end that which was the last one.
    """

    model: LearnerMixin
    steps: int
    task: str
    seed: int
    next_task: str

    @property
    def transitions(self) -> int:
        """How many there are to draw from."""
        return int(self.model.buffer.buffer_size * self.model.buffer.n_envs)


def play(
    checkpoint: Path,
    config: RunConfig,
    task: str | None,
    samples: int,
    seed: int,
    interventions: Sequence[InterventionConfig] = (),
) -> Played:
    """The agent of a checkpoint, after one rollout of `task`, or with a full replay buffer of it.

    Args:
        checkpoint: its folder, named after the steps of training.
        config: of the run.
        task: a name; None for the task that the run was in at the checkpoint.
        samples: transitions that will be drawn; a replay buffer gets eight times as many, so that few come twice.
        seed: of games and actions.
        interventions: that the agent has, which begin anew.

    Raises:
        ConfigError: the agent cannot be built, does not fit the checkpoint, or cannot play, because weights are no
            finite numbers; or the task is not one of the run's.
    """
    config, model, env = agent_of(config, PLAYED * samples, interventions)
    steps, total = int(checkpoint.name), env.stream.total_steps
    assert total is not None
    chosen = _task(env.stream, task, steps)
    following = env.stream.segment(env.stream.at(min(steps, total - 1))).task
    env.close()
    model.set_env(played(config, _games(chosen, config)))
    load(model, checkpoint)
    model.set_random_seed(seed)
    model.set_logger(Logger(folder=None, output_formats=[]))  # SB3 makes a folder where none is given
    _fill(model, checkpoint)
    model._update_current_progress_remaining(min(steps, total), total)  # the clipping range of that time
    return Played(model, steps, chosen.name, seed, following.name)


def _fill(model: LearnerMixin, checkpoint: Path) -> None:
    try:
        model.fill_buffer()
    except ValueError as error:  # distributions refuse it
        lost = [name for name, tensor in model.policy.state_dict().items() if not tensor.isfinite().all()]
        if not lost:
            raise
        raise ConfigError(
            f"{str(checkpoint)!r} holds an agent that cannot play, for weights of its are no finite numbers ({lost[0]}"
            f"{f' and {len(lost) - 1} more' if lost[1:] else ''}); give an earlier --checkpoint, if one is kept"
        ) from error


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
