"""A run's checkpoint -> its agent, with one rollout of a task to look at."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from stable_baselines3.common.logger import Logger

import envs
from agents import PPO
from crl.checkpoint import load_policy
from crl.config import ConfigError, RunConfig
from crl.config.imports import import_modules
from crl.config.messages import nearest, one_line, shown
from crl.models import build


@dataclass(frozen=True)
class Played:
    """An agent that has played one rollout.

    Attributes:
        model: with the rollout in its buffer.
        steps: of training, after which it was saved.
        task: that was played.
        seed: of games and actions.
    """

    model: PPO
    steps: int
    task: str
    seed: int


def play(checkpoint: Path, config: RunConfig, task: str | None, seed: int) -> Played:
    """The agent of a checkpoint, after one rollout of `task`.

    Args:
        checkpoint: its folder, named after the steps of training.
        config: of the run.
        task: a name; None for the task that the run was in at the checkpoint.
        seed: of games and actions.

    Raises:
        ConfigError: the agent cannot be built or does not fit the checkpoint, or the task is not one of the run's.
    """
    import_modules(config.imports)
    # Interventions act in training alone. A run of a GPU machine can be looked at without one.
    device = "auto" if config.device.startswith("cuda") else config.device
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run has said them
        config, model, env = build(config.model_copy(update={"interventions": (), "device": device}))
    steps, total = int(checkpoint.name), env.stream.total_steps
    assert total is not None
    chosen = _task(env.stream, task, steps)
    env.close()
    _load(model, checkpoint)
    model.set_env(_games(chosen, config))
    _collect(model, seed)
    model._update_current_progress_remaining(min(steps, total), total)  # the clipping range of that time
    return Played(model, steps, chosen.name, seed)


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


def _load(model: PPO, checkpoint: Path) -> None:
    try:
        model.policy.load_state_dict(load_policy(checkpoint))
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ConfigError(
            f"the checkpoint {str(checkpoint)!r} cannot be read ({one_line(error)}); it is damaged, audit another run"
        ) from error
    except RuntimeError as error:  # torch's, on other names or shapes
        raise ConfigError(
            f"the checkpoint {str(checkpoint)!r} does not fit the run's config.yaml ({one_line(error)}); "
            "put the config back with which it was trained"
        ) from error


def _collect(model: PPO, seed: int) -> None:
    """One rollout with its advantages, as `learn` begins; nothing is trained."""
    model.set_random_seed(seed)
    model.set_logger(Logger(folder=None, output_formats=[]))  # SB3 makes a folder where none is given
    _, callback = model._setup_learn(model.n_steps * model.n_envs)
    assert model.env is not None
    model.collect_rollouts(model.env, callback, model.rollout_buffer, n_rollout_steps=model.n_steps)
