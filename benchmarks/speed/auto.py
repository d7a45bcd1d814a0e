"""What the closed loop `auto` costs at its defaults, with three candidates, beside a gradient step of training.

PPO on 64 MinAtar games with the settings of `configs/minatar3_ppo.yaml`, DQN on 16 with those of
`configs/minatar3_dqn_gxd.yaml`, PPO on CartPole with those of `configs/cartpole_ppo.yaml`. How often `auto` looks at
trainability is counted in gradient steps, by `period` and `budget`: of an agent that is well a look each time; of one
whose units are dormant for ever a look with all candidates acting and one of them looked at; of one that is ill in
every way for ever a look with the trials of all candidates as often as the budget allows, which is the most that it can
cost. What is told is the share of that which falls to one gradient step.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

from agents.plasticity.auto.gauge import KEPT
from benchmarks.harness.clocks import timed
from benchmarks.harness.declared import MILLISECONDS, Repetition, Row, Side, Spent

TITLE = "What does the closed loop cost?"
MINATAR_PPO: dict[str, Any] = {
    "n_steps": 128, "batch_size": 1024, "n_epochs": 4, "learning_rate": 1e-3, "ent_coef": 0.01,
}  # fmt: skip
MINATAR_DQN: dict[str, Any] = {
    "learning_rate": 3e-4, "buffer_size": 10_000, "learning_starts": 1_000, "batch_size": 32, "train_freq": 1,
    "gradient_steps": 4, "double_q": True, "epsilon_per_env": True, "target_update_interval": 4_000,
}  # fmt: skip
CARTPOLE_PPO: dict[str, Any] = {"n_steps": 100, "batch_size": 32, "n_epochs": 5, "learning_rate": 1e-3}


class Job(NamedTuple):
    """What is trained.

    Attributes:
        title: of it.
        algorithm: of `agents`.
        task: that is played.
        games: at once.
        settings: of the algorithm.
        warming: steps before anything is timed.
        steps: that are timed in each repetition.
    """

    title: str
    algorithm: str
    task: str
    games: int
    settings: dict[str, Any]
    warming: int
    steps: int


JOBS = {
    "ppo": Job("PPO, 64 MinAtar games, minibatches of 1,024", "PPO", "breakout", 64, MINATAR_PPO, 8192, 8192),
    "dqn": Job("DQN, 16 MinAtar games, minibatches of 32", "DQN", "breakout", 16, MINATAR_DQN, 2000, 3200),
    "cartpole": Job("PPO, 8 CartPoles, minibatches of 32", "PPO", "cartpole", 8, CARTPOLE_PPO, 3200, 3200),
}


def _warmed(job: Job) -> tuple[Any, Any]:
    """The agent, and its intervention."""
    import torch

    import agents
    import envs
    from agents.plasticity import Auto

    warnings.filterwarnings("ignore", "this run makes at most")
    auto, pixels = Auto(), job.task != "cartpole"
    arch = {"net_arch": {"pi": [256] * 3, "vf": [256] * 3}, "activation_fn": torch.nn.LeakyReLU}
    model = getattr(agents, job.algorithm)(
        "CnnPolicy" if pixels else "MlpPolicy", envs.make(job.task, n_envs=job.games, seed=1), **job.settings,
        policy_kwargs=None if pixels else arch, seed=1, device="cpu", interventions=[auto],
    )  # fmt: skip
    return model.learn(job.warming), auto


def training(job: str) -> Repetition:
    """Gradient steps, with the games that they are learnt from."""
    model, auto = _warmed(JOBS[job])
    auto.period = 10**9  # never looks by itself

    def repetition() -> float:
        before = model.optimizer_steps
        model.learn(JOBS[job].steps, reset_num_timesteps=False)
        return float(model.optimizer_steps - before)

    return repetition


def looking(job: str, untrainable: bool, dormant: bool) -> Repetition:
    """A look, with trials where the agent is ill, and how many gradient steps it is one of."""
    _, auto = _warmed(JOBS[job])
    each = auto._learnt / (auto._learner.optimizer_steps - auto._begun)  # transitions that a gradient step learns from
    auto._begun = -(10**9)  # the budget allows all
    auto._decide()  # trains a fresh network, too
    auto.threshold = 1e9 if untrainable else 1e-9
    auto.living = 1e9 if dormant else 1e-9

    def looks() -> None:
        for _ in range(KEPT):  # of which one trains fresh networks
            auto._decide()
            assert auto.last is not None
            assert bool(auto.last.trials) is (untrainable or dormant)

    def repetition() -> Spent:
        before = auto._gauge.spent
        seconds, processor = timed(looks)
        every = max(auto.period, (auto._gauge.spent - before) / KEPT / (auto.budget * each))
        notes = {"a look takes, s": seconds / KEPT, "every, gradient steps": math.ceil(every)}
        return Spent(KEPT * every, seconds, processor, notes=notes)

    return repetition


def _row(name: str, job: Job) -> Row:
    sides = {
        "training": Side(training),
        "auto, all well": Side(looking, {"untrainable": False, "dormant": False}, at_most=0.05),
        "auto, dormant for ever": Side(looking, {"untrainable": False, "dormant": True}, at_most=0.05),
        "auto, ill for ever": Side(looking, {"untrainable": True, "dormant": True}, at_most=0.05),
    }
    return Row(f"auto/{name}", job.title, sides, MILLISECONDS, {"job": name})


ROWS = [_row(name, job) for name, job in JOBS.items()]
