"""What `crl train` logs, for agents that are trained from Python."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.callbacks import CallbackList

import envs
from agents.learner import LearnerMixin
from agents.vec_env import VectorEnvAdapter
from crl.monitoring import PlasticityRecorder, RowCallback, TaskCallback, recorder_of_run
from crl.monitoring.plasticity import MEASURE_EVERY, MEASURES

ENDLESS = 2**53  # steps


class Recorder(CallbackList):
    """Has an agent log what `crl train` logs, at the same rows: tasks and their returns, and ``plasticity/*``.

    All of it goes to the logger that the agent has, with the groups of TensorBoard's charts. DQN, SAC and TD3 write a
    row every 1,000 steps, in place of one for every `log_interval` episodes. What is no stream is one task without end.

    A recorder goes on where `learn` goes on (``reset_num_timesteps=False``), and begins anew where that does.

    Raises:
        ValueError: where training begins: the agent is none of ours, or its networks are not understood.

    Example::

        import crl
        from agents import PPO

        model = PPO("MlpPolicy", "CartPole-v1", tensorboard_log="runs")
        model.learn(100_000, callback=crl.Recorder())
    """

    def __init__(self) -> None:
        super().__init__([])
        self._learner: LearnerMixin | None = None

    def _init_callback(self) -> None:
        learner = self.model
        if not isinstance(learner, LearnerMixin):
            ours = f"agents.{type(learner).__name__}"
            raise ValueError(f"crl.Recorder records the agents of crl, and this one is none; train {ours} instead")
        if learner is not self._learner or learner.num_timesteps == 0:
            self._learner = learner
            self.callbacks = [*_parts(learner)]
        super()._init_callback()


class _OneTask(TaskCallback):
    """An environment that is no stream, whatever its infos say."""

    def segment_index(self) -> int:
        return 0


def _parts(learner: LearnerMixin) -> tuple[TaskCallback, PlasticityRecorder, RowCallback]:
    seed = learner.seed or 0
    stream = _stream(learner)
    if stream is not None and stream.total_steps is not None:
        tasks = TaskCallback(stream)
        recorder = recorder_of_run(learner, tasks, seed, fits=True)
    else:
        task = envs.Task(_name(learner), _no_world) if stream is None else stream.tasks[0]
        tasks = _OneTask(envs.TaskStream.build([task], steps_per_task=ENDLESS))
        recorder = PlasticityRecorder(learner, tasks, seed, min(MEASURE_EVERY, learner._total_timesteps // MEASURES))
    return tasks, recorder, RowCallback([tasks, recorder])


def _no_world() -> Any:
    raise NotImplementedError("this task stands for an environment that is there")


def _stream(learner: LearnerMixin) -> envs.TaskStream | None:
    """The stream that is played, None where the environment is none, or several games that go through their own."""
    assert learner.env is not None
    world = getattr(_world(learner), "unwrapped", None)
    found = getattr(getattr(world, "venv", world), "stream", None)  # one game that goes through a stream holds it so
    together = isinstance(learner.env.unwrapped, VectorEnvAdapter) or learner.env.num_envs == 1
    return found if together and isinstance(found, envs.TaskStream) else None


def _name(learner: LearnerMixin) -> str:
    spec = getattr(_world(learner), "spec", None)
    return str(getattr(spec, "id", "task"))


def _world(learner: LearnerMixin) -> Any:
    """What lies behind SB3's wrappers: a vector environment of Gymnasium's, or the first of the games."""
    assert learner.env is not None
    games = learner.env.unwrapped
    if isinstance(games, VectorEnvAdapter):
        return games.venv
    return next(iter(getattr(games, "envs", ())), games)
