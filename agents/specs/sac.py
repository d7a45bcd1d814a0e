"""Soft actor-critic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents import settings
from agents.settings import Setting
from agents.specs.record import REPLAYING, AgentSpec, Head
from agents.specs.shared import ACTION_NOISE, CRITICS, GSDE, noise, policy, remembers, replay_misfit, replaying


def _fixed_entropy(given: Mapping[str, Any]) -> tuple[str, str] | None:
    ent_coef = given["ent_coef"]
    if isinstance(ent_coef, str) or remembers(given):
        return None
    return f"agent.ent_coef={ent_coef} is fixed", f"give agent.ent_coef=auto_{ent_coef or 0.1} to have it learned"


SPEC = AgentSpec(
    "agents.sac:SAC",
    "soft actor-critic, Stable-Baselines3's with hook points",
    data="replay",
    actions=frozenset({"Box"}),
    networks={"actor": "pi", "critic": "qf"},
    paper_networks=("critic",),
    forgets=REPLAYING,
    misfit=replay_misfit,
    unrestartable=_fixed_entropy,
    heads={
        "flatten": Head((256, 256), "relu"),
        "nature_cnn": Head((), "relu"),
        "minatar_cnn": Head((64,), "relu"),
        "impala": Head((), "relu"),
    },
    settings={
        **replaying(learning_rate=3e-4, batch_size=256, tau=0.005, train_freq=1),
        "ent_coef": Setting(
            float | str,
            "auto",
            "weight of the entropy; auto to learn it, auto_0.1 to begin at 0.1",
            check=settings.entropy_coefficient,
        ),
        "target_entropy": Setting(
            float | str,
            "auto",
            "of the policy, for which the entropy coefficient is learned; auto for minus the actions' size",
            check=settings.target_entropy,
        ),
        "target_update_interval": Setting(int, 1, "gradient steps between two updates of the target networks", ge=1),
        "action_noise": ACTION_NOISE,
        **GSDE,
        "use_sde_at_warmup": Setting(bool, False, "gSDE's actions before learning begins, in place of random ones"),
        **policy(
            {
                **noise(log_std=-3.0),
                "clip_mean": Setting(float, 2.0, "of gSDE: bound of the mean before squashing; 0 for none", ge=0),
                **CRITICS,
            }
        ),
    },
)
