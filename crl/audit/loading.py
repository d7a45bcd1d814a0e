"""A run's checkpoint -> its agent, with transitions of a task to look at."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit

import envs
from agents import DQN
from agents.learner import LearnerMixin
from agents.off_policy import OffPolicyMixin
from agents.training_state import restore_learnt
from crl import checkpoints, storage
from crl.config import AgentConfig, AtSwitchConfig, ConfigError, DQNConfig, OffPolicyConfig, RunConfig
from crl.config.fields import MAX_WHOLE
from crl.config.imports import import_modules
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
    import_modules(config.imports)
    # Interventions act in training alone. A run of a GPU machine can be looked at without one.
    device = "auto" if config.device.startswith("cuda") else config.device
    agent = _at_rest(config.agent, samples)
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
    _collect(model, seed)
    model._update_current_progress_remaining(min(steps, total), total)  # the clipping range of that time
    return Played(model, steps, chosen.name, seed)


def _at_rest(agent: AgentConfig, samples: int) -> AgentConfig:
    """The agent as it has become: it explores no more than at the end, and its target network stays what it is.

    Its replay buffer holds `PLAYED` transitions for each that will be drawn.
    """
    if not isinstance(agent, OffPolicyConfig):
        return agent
    size = max(-(-PLAYED * samples // agent.n_envs) * agent.n_envs, agent.rollout)
    update: dict[str, object] = {"buffer_size": size, "target_update_interval": MAX_WHOLE}
    if isinstance(agent, DQNConfig):
        update["exploration_initial_eps"] = agent.exploration_final_eps
    return agent.model_copy(update=update)


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


def _collect(model: LearnerMixin, seed: int) -> None:
    """One rollout with its advantages, or a full replay buffer, as `learn` begins; nothing is trained."""
    model.set_random_seed(seed)
    model.set_logger(Logger(folder=None, output_formats=[]))  # SB3 makes a folder where none is given
    assert model.env is not None
    if isinstance(model, OffPolicyMixin):
        assert model.replay_buffer is not None
        steps = model.replay_buffer.buffer_size
        _, callback = model._setup_learn(steps * model.n_envs)
        if isinstance(model, DQN):
            model.exploration_rate = model.exploration_final_eps  # before its first step it is 0
        frequency = TrainFreq(steps, TrainFrequencyUnit.STEP)
        model.collect_rollouts(model.env, callback, frequency, model.replay_buffer)
    else:
        assert isinstance(model, OnPolicyAlgorithm)
        _, callback = model._setup_learn(model.n_steps * model.n_envs)
        model.collect_rollouts(model.env, callback, model.rollout_buffer, n_rollout_steps=model.n_steps)
