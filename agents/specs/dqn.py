"""Deep Q-network."""

from __future__ import annotations

from agents.settings import Setting
from agents.specs.record import REPLAYING, AgentSpec, Head
from agents.specs.shared import policy, replay_misfit, replaying

SPEC = AgentSpec(
    "agents.dqn:DQN",
    "deep Q-network, Double DQN as an option, Stable-Baselines3's with hook points",
    data="replay",
    actions=frozenset({"Discrete"}),
    networks={"critic": ""},
    paper_networks=("critic",),
    forgets=REPLAYING,
    misfit=replay_misfit,
    heads={
        "flatten": Head((64, 64), "relu"),
        "nature_cnn": Head((), "relu"),
        "minatar_cnn": Head((), "relu"),
        "impala": Head((), "relu"),
    },
    settings={
        **replaying(learning_rate=1e-4, batch_size=32, tau=1.0, train_freq=4),
        "target_update_interval": Setting(int, 10_000, "steps between two updates of the target network", ge=1),
        "exploration_fraction": Setting(float, 0.1, "share of the run over which epsilon falls", gt=0, le=1),
        "exploration_initial_eps": Setting(float, 1.0, "epsilon at the start", ge=0, le=1),
        "exploration_final_eps": Setting(float, 0.05, "epsilon from then on", ge=0, le=1),
        "max_grad_norm": Setting(float, 10.0, "norm at which gradients are clipped", gt=0),
        "double_q": Setting(
            bool, False, "Double DQN: the online network chooses the action that the target network values"
        ),
        "epsilon_per_env": Setting(bool, False, "each game explores for itself, where SB3 throws one coin for all"),
        **policy(),
    },
)
