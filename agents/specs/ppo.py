"""Proximal policy optimisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents import settings
from agents.settings import Schedule, Setting
from agents.specs.record import SWITCHING, AgentSpec, Head
from agents.specs.shared import GSDE, SHARED, common, noise, policy

ADAM_EPS = 1e-5  # SB3's


def _misfit(given: Mapping[str, Any]) -> str | None:
    if given["normalize_advantage"] and given["batch_size"] == 1:
        return (
            "agent.batch_size=1 has no spread that advantages could be divided by; give at least 2, or "
            "agent.normalize_advantage=false"
        )
    if given["policy_kwargs"]["squash_output"] and not given["use_sde"]:
        return (
            "agent.policy_kwargs.squash_output=true squashes the actions of gSDE alone; give agent.use_sde=true or "
            "leave it out"
        )
    return None


SPEC = AgentSpec(
    "agents.ppo:PPO",
    "proximal policy optimisation, Stable-Baselines3's with hook points",
    data="rollout",
    actions=frozenset({"Box", "Discrete", "MultiDiscrete", "MultiBinary"}),
    networks={"actor": "pi", "critic": "vf"},
    adam_eps=ADAM_EPS,
    shares_features=True,
    paper_networks=("actor", "critic"),
    forgets=SWITCHING,
    continuous=frozenset({"use_sde"}),
    misfit=_misfit,
    heads={
        "flatten": Head((64, 64), "tanh"),
        "nature_cnn": Head((), "tanh"),
        "minatar_cnn": Head((64,), "relu"),
        "impala": Head((), "relu"),
    },
    settings={
        **common(learning_rate=3e-4, batch_size=64),
        "n_steps": Setting(int, 2048, "steps of each game in a rollout", ge=1, le=2**20),
        "n_epochs": Setting(int, 10, "passes over each rollout", ge=1),
        "gae_lambda": Setting(
            float, 0.95, "of generalised advantage estimation: 0 looks one step ahead, 1 to the end", ge=0, le=1
        ),
        "clip_range": Setting(Schedule, 0.2, "largest change of a probability ratio that is rewarded"),
        "clip_range_vf": Setting(
            Schedule, None, "largest change of a value; null for any", check=settings.clipping_range
        ),
        "normalize_advantage": Setting(bool, True, "advantages of a minibatch get a mean of 0 and a spread of 1"),
        "ent_coef": Setting(float, 0.0, "weight of the entropy bonus"),
        "vf_coef": Setting(float, 0.5, "weight of the value loss", ge=0),
        "max_grad_norm": Setting(float, 0.5, "norm at which gradients are clipped", gt=0),
        **GSDE,
        "target_kl": Setting(
            float, None, "an update ends where the policy has moved 1.5 times as far; null for never", gt=0
        ),
        **policy(
            {
                "ortho_init": Setting(bool, True, "orthogonal initialisation, with SB3's gains; false for torch's"),
                **noise(log_std=0.0),
                "full_std": Setting(bool, True, "of gSDE: a deviation for each unit and action, not for each unit"),
                "squash_output": Setting(bool, False, "of gSDE: tanh squashes the actions"),
                "share_features_extractor": Setting(bool, True, SHARED),
            },
            eps=ADAM_EPS,
        ),
    },
)
