"""Settings of a config train as Stable-Baselines3 does with the same arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import stable_baselines3
import torch
from small_ppo import assert_same
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise
from torch import nn

from agents.learner import LearnerMixin
from crl.config import ConfigError
from crl.models import build
from crl.models.environment import make_stream

ADAM = {"eps": 1e-4, "betas": (0.8, 0.95), "weight_decay": 0.01}
ADAM_YAML = "optimizer_kwargs: {eps: 1e-4, betas: [0.8, 0.95], weight_decay: 0.01}"
NOISE = {"mean": np.zeros(1, np.float32), "sigma": np.full(1, 0.3, np.float32), "theta": 0.5, "dt": 0.1}
NOISE_YAML = "agent.action_noise={name: ornstein_uhlenbeck, sigma: 0.3, theta: 0.5, dt: 0.1}"
ONCE = {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}}
ONCE_YAML = ["agent.optimize_memory_usage=true", "agent.replay_buffer_kwargs={handle_timeout_termination: false}"]
KINDS: dict[str, tuple[str, list[str], dict[str, Any]]] = {  # agent -> world, overrides, SB3's arguments
    "ppo": (
        "Pendulum-v1",
        [
            "agent={clip_range_vf: 0.1, normalize_advantage: false, target_kl: 0.02}",
            "agent={use_sde: true, sde_sample_freq: 4}",
            "agent.policy_kwargs={ortho_init: false, log_std_init: -1, full_std: false, use_expln: true}",
            f"agent.policy_kwargs={{squash_output: true, share_features_extractor: false, {ADAM_YAML}}}",
        ],
        {
            "clip_range_vf": 0.1, "normalize_advantage": False, "use_sde": True, "sde_sample_freq": 4,
            "target_kl": 0.02,
            "policy_kwargs": {
                "ortho_init": False, "log_std_init": -1.0, "full_std": False, "use_expln": True,
                "squash_output": True, "share_features_extractor": False, "optimizer_kwargs": ADAM,
            },
        },
    ),
    "dqn": ("CartPole-v1", [*ONCE_YAML, f"agent.policy_kwargs={{{ADAM_YAML}}}"], {
        **ONCE, "policy_kwargs": {"optimizer_kwargs": ADAM},
    }),
    "sac": (
        "Pendulum-v1",
        [
            *ONCE_YAML, NOISE_YAML, "agent={use_sde: true, use_sde_at_warmup: true}",
            f"agent.policy_kwargs={{log_std_init: -2, use_expln: true, clip_mean: 1, n_critics: 3, {ADAM_YAML}}}",
        ],
        {
            **ONCE, "action_noise": OrnsteinUhlenbeckActionNoise(**NOISE), "use_sde": True, "use_sde_at_warmup": True,
            "policy_kwargs": {
                "log_std_init": -2.0, "use_expln": True, "clip_mean": 1.0, "n_critics": 3, "optimizer_kwargs": ADAM,
            },
        },
    ),
    "td3": (
        "Pendulum-v1",
        [
            NOISE_YAML, "agent.replay_buffer_kwargs={handle_timeout_termination: false}",
            f"agent.policy_kwargs={{n_critics: 3, share_features_extractor: true, {ADAM_YAML}}}",
        ],
        {
            "action_noise": OrnsteinUhlenbeckActionNoise(**NOISE),
            "replay_buffer_kwargs": {"handle_timeout_termination": False},
            "policy_kwargs": {"n_critics": 3, "share_features_extractor": True, "optimizer_kwargs": ADAM},
        },
    ),
}  # fmt: skip
OFF_POLICY = {"buffer_size": 64, "batch_size": 4, "learning_starts": 2, "train_freq": 4}
SMALL = {"ppo": {"n_steps": 8, "batch_size": 16}, "dqn": OFF_POLICY, "sac": OFF_POLICY, "td3": OFF_POLICY}


def test_noise_that_depends_on_the_state_needs_continuous_actions(config: Any) -> None:
    with pytest.raises(ConfigError) as error:
        build(config("agent.use_sde=true"))
    assert str(error.value) == (
        'agent.use_sde=true is for continuous actions, and stream.name="breakout" has actions Discrete(6); give '
        "agent.use_sde=false"
    )


@pytest.mark.parametrize("agent", KINDS)
def test_every_argument_does_what_it_does_in_stable_baselines(config: Any, agent: str) -> None:
    world, overrides, arguments = KINDS[agent]
    networks = ["agent.net_arch=[8, 4]", "agent.activation=SiLU"]
    networks += [] if agent == "ppo" else ["agent.train_freq=4"]
    checked = config(f"stream.name={world}", "stream.steps_per_task=240", "seed=3", *networks, *overrides, agent=agent)
    resolved, mine, env = build(checked)
    policy_kwargs = {"net_arch": [8, 4], "activation_fn": nn.SiLU, **arguments["policy_kwargs"]}
    stock = getattr(stable_baselines3, agent.upper())(
        "MlpPolicy", LearnerMixin._wrap_env(make_stream(resolved)), **SMALL[agent],
        **{**arguments, "policy_kwargs": policy_kwargs}, seed=3, device="cpu",
    )  # fmt: skip
    torch.manual_seed(3)
    for model in (stock, mine):
        model.set_random_seed(3)
        model.learn(240)
    assert_same(dict(mine.policy.state_dict()), dict(stock.policy.state_dict()))
    assert mine.num_timesteps == 240
    env.close()
