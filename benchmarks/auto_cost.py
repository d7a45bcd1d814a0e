"""What the closed loop `auto` costs at its defaults, with three candidates: processor time beside that of training.

PPO on 64 MinAtar games with the settings of `configs/minatar3_ppo.yaml`, DQN on 16 with those of
`configs/minatar3_dqn_gxd.yaml`, PPO on CartPole with those of `configs/cartpole_ppo.yaml`, one thread. Training, a look
at trainability, and a look with the trials of all candidates are timed in one process, in turn. How often they are made
is counted in gradient steps, by `period` and `budget`: of an agent that is well a look each time; of one that is ill
for ever a look with trials as often as the budget allows, which is the most that it can cost.

    OMP_NUM_THREADS=1 python benchmarks/auto_cost.py            # about two minutes on one core
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

import envs
from agents import DQN, PPO
from agents.plasticity import Auto

ROUNDS = 3


class Job(NamedTuple):
    """What is trained.

    Attributes:
        make: the agent with an intervention.
        warming: steps of the games before anything is timed.
        steps: that are timed, in each round.
    """

    make: Callable[[Auto], Any]
    warming: int
    steps: int


def ppo(auto: Auto) -> PPO:
    settings = {"n_steps": 128, "batch_size": 1024, "n_epochs": 4, "learning_rate": 1e-3, "ent_coef": 0.01}
    games = envs.make("breakout", n_envs=64, seed=1)
    return PPO("CnnPolicy", games, **settings, seed=1, device="cpu", interventions=[auto])


def dqn(auto: Auto) -> DQN:
    settings = {
        "learning_rate": 3e-4, "buffer_size": 10_000, "learning_starts": 1_000, "batch_size": 32, "train_freq": 1,
        "gradient_steps": 4, "double_q": True, "epsilon_per_env": True, "target_update_interval": 4_000,
    }  # fmt: skip
    games = envs.make("breakout", n_envs=16, seed=1)
    return DQN("CnnPolicy", games, **settings, seed=1, device="cpu", interventions=[auto])


def cartpole(auto: Auto) -> PPO:
    settings = {"n_steps": 128, "batch_size": 256, "n_epochs": 4, "learning_rate": 1e-3}
    policy = {"net_arch": {"pi": [64, 64], "vf": [64, 64]}, "activation_fn": torch.nn.ReLU}
    games = envs.make("cartpole", n_envs=8, seed=1)
    return PPO("MlpPolicy", games, **settings, policy_kwargs=policy, seed=1, device="cpu", interventions=[auto])


JOBS = {
    "PPO, 64 MinAtar games": Job(ppo, 8192, 8192),
    "DQN, 16 MinAtar games": Job(dqn, 2000, 3200),
    "PPO, 8 CartPoles": Job(cartpole, 4096, 8192),
}


def seconds(call: Callable[[], Any]) -> float:
    """Processor time of a call."""
    began = time.process_time()
    call()
    return time.process_time() - began


def measured(job: Job) -> tuple[float, float]:
    """The shares of training's time that an agent costs that is well, and one that is always ill."""
    auto = Auto()
    model = job.make(auto)
    model.learn(job.warming)
    learner_steps = model.optimizer_steps
    training = seconds(lambda: model.learn(job.steps, reset_num_timesteps=False))
    training /= model.optimizer_steps - learner_steps
    auto._begun = -(10**9)  # the budget allows all
    auto._decide()  # the first one trains a fresh network, too
    auto.threshold = 1e-9
    look = seconds(auto._decide)
    before = auto._spent
    auto.threshold = 1e9
    trials = seconds(auto._decide)
    unit = auto._learnt / (model.optimizer_steps - auto._begun)
    assert auto.last is not None
    assert auto.last.trials
    well = max(auto.period, auto._look_cost() / (auto.budget * unit))
    ill = max(auto.period, (auto._spent - before) / (auto.budget * unit))
    print(
        f"  a gradient step {1e3 * training:.2f} ms; a look {look:.2f} s, every {well:,.0f} of them; with trials "
        f"{trials:.2f} s, every {ill:,.0f}",
        flush=True,
    )
    return look / (well * training), trials / (ill * training)


def main() -> None:
    """Print lines for each round and job."""
    warnings.filterwarnings("ignore", "this run makes at most")
    torch.set_num_threads(1)
    for name, job in JOBS.items():
        print(name)
        for _ in range(ROUNDS):
            well, ill = measured(job)
            print(f"  auto takes {well:.2%} of training's time where all is well, {ill:.2%} where it never is")


if __name__ == "__main__":
    main()
