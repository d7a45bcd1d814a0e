"""Twin delayed deterministic policy gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.settings import Setting
from agents.specs.record import REPLAYING, AgentSpec, Head
from agents.specs.shared import ACTION_NOISE, CRITICS, policy, remembers, replay_misfit, replaying


def _without_memory(given: Mapping[str, Any]) -> tuple[str, str] | None:
    if remembers(given):
        return None
    sigma = given["action_noise"] if isinstance(given["action_noise"], float) else 0.1
    remedy = f"give agent.action_noise={{name: ornstein_uhlenbeck, sigma: {sigma}}}"
    return "there is no noise on the actions that remembers what it was", remedy


SPEC = AgentSpec(
    "agents.td3:TD3",
    "twin delayed deterministic policy gradient, Stable-Baselines3's with hook points",
    data="replay",
    actions=frozenset({"Box"}),
    networks={"actor": "pi", "critic": "qf"},
    paper_networks=("critic",),
    forgets=REPLAYING,
    misfit=replay_misfit,
    unrestartable=_without_memory,
    heads={
        "flatten": Head((400, 300), "relu"),
        "nature_cnn": Head((256, 256), "relu"),
        "minatar_cnn": Head((64,), "relu"),
        "impala": Head((), "relu"),
    },
    settings={
        **replaying(learning_rate=1e-3, batch_size=256, tau=0.005, train_freq=1),
        "action_noise": ACTION_NOISE,
        "policy_delay": Setting(int, 2, "gradient steps of the critics for each of the actor", ge=1),
        "target_policy_noise": Setting(float, 0.2, "standard deviation of the noise on the target's actions", ge=0),
        "target_noise_clip": Setting(float, 0.5, "largest such noise", ge=0),
        **policy(CRITICS),
    },
)
