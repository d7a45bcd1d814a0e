"""Settings that several algorithms have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents import settings
from agents.optimizers import adam_settings
from agents.settings import Schedule, Setting
from agents.specs.record import AgentSpec
from agents.specs.refused import POLICY_NOT_IN_CONFIGS

SHARED = "actor and critic have one features extractor"
CRITICS = {
    "n_critics": Setting(int, 2, "Q-functions", ge=1, le=64),
    "share_features_extractor": Setting(bool, False, SHARED),
}
GSDE = {
    "use_sde": Setting(bool, False, "generalised state-dependent exploration (gSDE)"),
    "sde_sample_freq": Setting(int, -1, "steps after which gSDE draws anew; -1 for once a rollout", ge=-1),
}
ACTION_NOISE = Setting(
    float | Mapping[str, Any],
    None,
    "noise on actions from -1 to 1: a standard deviation, or {name: normal, sigma: 0.1} or {name: ornstein_uhlenbeck, "
    "sigma: 0.1, theta: 0.15, dt: 0.01}; null for none",
    check=settings.action_noise,
)


def common(learning_rate: float, batch_size: int) -> dict[str, Setting]:
    """What every algorithm takes; the arguments are its defaults."""
    return {
        "learning_rate": Setting(Schedule, learning_rate, "of the optimizers"),
        "batch_size": Setting(int, batch_size, "transitions of each gradient step", ge=1),
        "gamma": Setting(float, 0.99, "discount of what comes a step later", ge=0, le=1),
        "random_shift": Setting(
            int, 0, "pixels by which images of a minibatch are moved at random, such as 4; 0 for none", ge=0, le=2**10
        ),
        "speed": Setting(
            str,
            "exact",
            "exact is Stable-Baselines3 to the last bit; fast rounds otherwise, where that takes less time",
            check=settings.speed,
        ),
    }


def replaying(learning_rate: float, batch_size: int, tau: float, train_freq: int) -> dict[str, Setting]:
    """What every algorithm takes that learns from a replay buffer; the arguments are its defaults."""
    return {
        **common(learning_rate, batch_size),
        "buffer_size": Setting(int, 1_000_000, "transitions that the replay buffer holds", ge=1),
        "learning_starts": Setting(int, 100, "steps that are played at random before learning begins", ge=0),
        "tau": Setting(
            float, tau, "share of the network that its target takes over at each of its updates", gt=0, le=1
        ),
        "train_freq": Setting(int, train_freq, "steps of each game between two updates", ge=1, le=2**20),
        "gradient_steps": Setting(
            int, 1, "of each update; -1 for as many as steps were taken", ge=-1, check=settings.gradient_steps
        ),
        "n_steps": Setting(int, 1, "steps whose rewards a target of values adds up", ge=1, le=2**10),
        "replay": Setting(
            str | Mapping[str, Any],
            "uniform",
            "how transitions are drawn: uniform; or prioritized, by how wrong their values were, or {name: "
            "prioritized, alpha: 0.6, beta: {linear: [0.4, 1.0]}, epsilon: 1.0e-6}",
            check=settings.replay,
        ),
        "optimize_memory_usage": Setting(bool, False, "one observation for each transition, half the memory"),
        "replay_buffer_kwargs": Setting(
            {
                "handle_timeout_termination": Setting(
                    bool, True, "bootstraps from where an episode was cut off; false takes that for its end"
                ),
            },
            meaning="of the replay buffer",
        ),
    }


def policy(more: Mapping[str, Setting] | None = None, eps: float = AgentSpec.adam_eps) -> dict[str, Setting]:
    """What the policy of an algorithm takes, with `more` of its own; `eps` is what SB3 gives its Adam."""
    found = {
        **(more or {}),
        "normalize_images": Setting(bool, True, "images of bytes are divided by 255"),
        "optimizer_kwargs": Setting(adam_settings(eps), meaning="of Adam"),
    }
    return {"policy_kwargs": Setting(found, meaning="of the policy", elsewhere=POLICY_NOT_IN_CONFIGS)}


def noise(log_std: float) -> dict[str, Setting]:
    """What the noise of a policy is made of, with gSDE or without."""
    return {
        "log_std_init": Setting(float, log_std, "log of the standard deviation of actions at the start"),
        "use_expln": Setting(bool, False, "of gSDE: deviations grow no faster than linearly, in place of exp"),
    }


def replay_misfit(given: Mapping[str, Any]) -> str | None:
    """The sentence that refuses a replay buffer that is to save memory and needs what it then does not keep."""
    if not given["optimize_memory_usage"]:
        return None
    without = "agent.optimize_memory_usage=true keeps no observation behind an episode that is cut off"
    if given["replay_buffer_kwargs"]["handle_timeout_termination"]:
        return (
            f"{without}; give agent.replay_buffer_kwargs.handle_timeout_termination=false, with which time limits and "
            "task switches count as ends, or agent.optimize_memory_usage=false"
        )
    if given["n_steps"] > 1:
        return f"{without}, which agent.n_steps={given['n_steps']} needs; give one of them up"
    return None


def remembers(given: Mapping[str, Any]) -> bool:
    """Whether there is noise on the actions that `at_switch` can begin anew."""
    noise = given["action_noise"]
    return isinstance(noise, Mapping) and noise["name"] == "ornstein_uhlenbeck"
