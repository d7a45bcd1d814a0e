"""What is known of each algorithm before its code is imported: one record each. Importing this loads no torch.

A user adds an algorithm with `register`, or with an entry point of the group ``crl.plugins`` whose name is
``agents.NAME`` and whose value, ``module:attribute``, is an `AgentSpec`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from agents import settings
from agents.networks.spec import Activation, Features
from agents.optimizers import adam_settings
from agents.plasticity.registry import Entry, add, resolve
from agents.settings import Schedule, Setting

Data = Literal["replay", "rollout"]
SWITCHING = frozenset({"optimizer", "normalizer"})
REPLAYING = SWITCHING | {"replay", "exploration", "random_steps"}
NEEDED: dict[Data, tuple[str, ...]] = {
    "replay": ("gamma", "batch_size", "buffer_size", "learning_starts", "train_freq"),
    "rollout": ("gamma", "n_steps"),
}
"""What an agent learns from -> settings that every such agent has."""
FEATURES: tuple[Features, ...] = get_args(Features)


class Head(NamedTuple):
    """Hidden layers behind features, where none are given: SB3's, or as published with the features extractor."""

    widths: tuple[int, ...]
    activation: Activation


@dataclass(frozen=True, eq=False)
class AgentSpec:
    """An algorithm.

    Attributes:
        target: its class, or where that is ("module:attribute").
        summary: what it is, in one line.
        data: whether it learns from a replay buffer, or from rollouts that it drops.
        actions: kinds of spaces, by the names of their classes, whose actions it can choose.
        networks: network's name -> the key of ``net_arch`` that holds its hidden layers' widths; of an agent with one
            network, whose ``net_arch`` is these widths themselves, the empty name.
        adam_eps: what SB3 adds to the root of the second moments of its Adam.
        shares_features: actor and critic have one features extractor, which is a network of its own (``features``),
            unless ``policy_kwargs`` decides that.
        paper_networks: those that published resets act on.
        forgets: keys of `agents.at_switch.AtSwitch` that it has something for.
        continuous: those of its settings that are true with continuous actions alone.
        misfit: of its settings, the sentence that refuses some that do not go together; None where all do.
        unrestartable: of its settings, why ``at_switch.exploration`` would restart nothing with them, and how it would;
            None where it restarts something.
        heads: features -> the hidden layers behind them, of each network, where a config gives none.
        settings: argument of its constructor -> what a config can give for it.
    """

    target: str | Callable[..., Any]
    summary: str
    data: Data
    actions: frozenset[str]
    networks: Mapping[str, str]
    paper_networks: tuple[str, ...]
    forgets: frozenset[str]
    heads: Mapping[str, Head]
    settings: Mapping[str, Setting] = field(repr=False)
    adam_eps: float = 1e-8
    shares_features: bool = False
    continuous: frozenset[str] = frozenset()
    misfit: Callable[[Mapping[str, Any]], str | None] = lambda _settings: None
    unrestartable: Callable[[Mapping[str, Any]], tuple[str, str] | None] = lambda _settings: None

    def __post_init__(self) -> None:
        known, published = set(self.networks), set(self.paper_networks)
        if not known or not published <= known:
            raise ValueError(f"paper_networks is {self.paper_networks}; give some of networks: {', '.join(known)}")
        if self.data not in NEEDED:
            raise ValueError(f"data is {self.data!r}; give {' or '.join(NEEDED)}")
        for name, found, needed in (("settings", self.settings, NEEDED[self.data]), ("heads", self.heads, FEATURES)):
            lacking = [key for key in needed if key not in found]
            if lacking:
                raise ValueError(f"{name} has no {', '.join(lacking)}; add what is missing")

    @property
    def frequency(self) -> str:
        """The setting that says how many steps of each game lie between two updates."""
        return "train_freq" if self.data == "replay" else "n_steps"

    def shares(self, settings: Mapping[str, Any]) -> bool:
        """Whether actor and critic share their features, with these settings."""
        found: bool = settings.get("policy_kwargs", {}).get("share_features_extractor", self.shares_features)
        return found

    def resolve(self) -> Any:
        """Import the class, where need be."""
        return resolve(self.target)


def register(name: str, spec: AgentSpec) -> None:
    """Make an algorithm known under a name.

    Raises:
        ValueError: another algorithm has this name, or `spec` is none.
    """
    if not isinstance(spec, AgentSpec):
        raise ValueError(f"the agent {name!r} is registered with {spec!r}; give an AgentSpec")
    add(AGENTS, name, spec)


def agent_spec(name: str) -> AgentSpec:
    """The record of an algorithm; that of an installed plugin is imported.

    Raises:
        TypeError: what the plugin brings is no record.
    """
    found = AGENTS[name]
    if isinstance(found, Entry):
        found = found.resolve()
    if not isinstance(found, AgentSpec):
        raise TypeError(f"{type(found).__name__} is no AgentSpec")
    return found


def known_specs() -> dict[str, AgentSpec]:
    """The records that are there without importing anything."""
    return {name: spec for name, spec in AGENTS.items() if isinstance(spec, AgentSpec)}


def _common(learning_rate: float, batch_size: int) -> dict[str, Setting]:
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


def _replaying(learning_rate: float, batch_size: int, tau: float, train_freq: int) -> dict[str, Setting]:
    return {
        **_common(learning_rate, batch_size),
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


def _policy(more: Mapping[str, Setting] | None = None, eps: float = AgentSpec.adam_eps) -> dict[str, Setting]:
    """What the policy of an algorithm takes, with `more` of its own; `eps` is what SB3 gives its Adam."""
    found = {
        **(more or {}),
        "normalize_images": Setting(bool, True, "images of bytes are divided by 255"),
        "optimizer_kwargs": Setting(adam_settings(eps), meaning="of Adam"),
    }
    return {"policy_kwargs": Setting(found, meaning="of the policy", elsewhere=POLICY_NOT_IN_CONFIGS)}


def _noise(log_std: float) -> dict[str, Setting]:
    """What the noise of a policy is made of, with gSDE or without."""
    return {
        "log_std_init": Setting(float, log_std, "log of the standard deviation of actions at the start"),
        "use_expln": Setting(bool, False, "of gSDE: deviations grow no faster than linearly, in place of exp"),
    }


ON_POLICY_EPS = 1e-5  # of SB3's Adam
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
NOT_IN_CONFIGS: dict[str, str] = {
    "policy": "follows from agent.features; leave it out",
    "env": "is the section stream; leave it out",
    "interventions": "is a section of its own; give interventions",
    "at_switch": "is a section of its own; give at_switch",
    "seed": "is the run's; give seed",
    "device": "is the run's; give device",
    "verbose": "is not needed, since a run shows its progress; leave it out",
    "tensorboard_log": "is not needed, since the run's folder has the events; leave it out",
    "stats_window_size": "is not needed, since a run's returns are over the last 100 episodes of a task; leave it out",
    "_init_setup_model": "is SB3's own; leave it out",
    "replay_buffer_class": "is a class, which Python alone can give to agents.DQN, SAC or TD3; leave it out",
    "rollout_buffer_class": "is a class, which Python alone can give to agents.PPO; leave it out",
    "rollout_buffer_kwargs": "belongs to a class that Python alone can give to agents.PPO; leave it out",
}
"""Argument of a learner's constructor that no config gives -> why, and what to do, behind its name."""
POLICY_NOT_IN_CONFIGS: dict[str, str] = {
    "net_arch": "has a key of its own; give agent.net_arch",
    "activation_fn": "has a key of its own; give agent.activation",
    "features_extractor_class": "has a key of its own; give agent.features",
    "features_extractor_kwargs": "follows from agent.features; leave it out",
    "use_sde": "has a key of its own; give agent.use_sde",
    "optimizer_class": "has a key of its own; give agent.optimizer",
    "observation_space": "is that of the stream; leave it out",
    "action_space": "is that of the stream; leave it out",
    "lr_schedule": "has a key of its own; give agent.learning_rate",
}
"""As `NOT_IN_CONFIGS`, of the policy's constructor."""


def _replay_misfit(given: Mapping[str, Any]) -> str | None:
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


def _rollout_misfit(given: Mapping[str, Any]) -> str | None:
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


def _remembers(given: Mapping[str, Any]) -> bool:
    """Whether there is noise on the actions that `at_switch` can begin anew."""
    noise = given["action_noise"]
    return isinstance(noise, Mapping) and noise["name"] == "ornstein_uhlenbeck"


def _fixed_entropy(given: Mapping[str, Any]) -> tuple[str, str] | None:
    ent_coef = given["ent_coef"]
    if isinstance(ent_coef, str) or _remembers(given):
        return None
    return f"agent.ent_coef={ent_coef} is fixed", f"give agent.ent_coef=auto_{ent_coef or 0.1} to have it learned"


def _without_memory(given: Mapping[str, Any]) -> tuple[str, str] | None:
    if _remembers(given):
        return None
    sigma = given["action_noise"] if isinstance(given["action_noise"], float) else 0.1
    remedy = f"give agent.action_noise={{name: ornstein_uhlenbeck, sigma: {sigma}}}"
    return "there is no noise on the actions that remembers what it was", remedy


AGENTS: dict[str, AgentSpec | Entry] = {
    "dqn": AgentSpec(
        "agents.dqn:DQN",
        "deep Q-network, Double DQN as an option, Stable-Baselines3's with hook points",
        data="replay",
        actions=frozenset({"Discrete"}),
        networks={"critic": ""},
        paper_networks=("critic",),
        forgets=REPLAYING,
        misfit=_replay_misfit,
        heads={
            "flatten": Head((64, 64), "relu"),
            "nature_cnn": Head((), "relu"),
            "minatar_cnn": Head((), "relu"),
            "impala": Head((), "relu"),
        },
        settings={
            **_replaying(learning_rate=1e-4, batch_size=32, tau=1.0, train_freq=4),
            "target_update_interval": Setting(int, 10_000, "steps between two updates of the target network", ge=1),
            "exploration_fraction": Setting(float, 0.1, "share of the run over which epsilon falls", gt=0, le=1),
            "exploration_initial_eps": Setting(float, 1.0, "epsilon at the start", ge=0, le=1),
            "exploration_final_eps": Setting(float, 0.05, "epsilon from then on", ge=0, le=1),
            "max_grad_norm": Setting(float, 10.0, "norm at which gradients are clipped", gt=0),
            "double_q": Setting(
                bool, False, "Double DQN: the online network chooses the action that the target network values"
            ),
            "epsilon_per_env": Setting(bool, False, "each game explores for itself, where SB3 throws one coin for all"),
            **_policy(),
        },
    ),
    "ppo": AgentSpec(
        "agents.ppo:PPO",
        "proximal policy optimisation, Stable-Baselines3's with hook points",
        data="rollout",
        actions=frozenset({"Box", "Discrete", "MultiDiscrete", "MultiBinary"}),
        networks={"actor": "pi", "critic": "vf"},
        adam_eps=ON_POLICY_EPS,
        shares_features=True,
        paper_networks=("actor", "critic"),
        forgets=SWITCHING,
        continuous=frozenset({"use_sde"}),
        misfit=_rollout_misfit,
        heads={
            "flatten": Head((64, 64), "tanh"),
            "nature_cnn": Head((), "tanh"),
            "minatar_cnn": Head((64,), "relu"),
            "impala": Head((), "relu"),
        },
        settings={
            **_common(learning_rate=3e-4, batch_size=64),
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
            **_policy(
                {
                    "ortho_init": Setting(bool, True, "orthogonal initialisation, with SB3's gains; false for torch's"),
                    **_noise(log_std=0.0),
                    "full_std": Setting(bool, True, "of gSDE: a deviation for each unit and action, not for each unit"),
                    "squash_output": Setting(bool, False, "of gSDE: tanh squashes the actions"),
                    "share_features_extractor": Setting(bool, True, SHARED),
                },
                eps=ON_POLICY_EPS,
            ),
        },
    ),
    "sac": AgentSpec(
        "agents.sac:SAC",
        "soft actor-critic, Stable-Baselines3's with hook points",
        data="replay",
        actions=frozenset({"Box"}),
        networks={"actor": "pi", "critic": "qf"},
        paper_networks=("critic",),
        forgets=REPLAYING,
        misfit=_replay_misfit,
        unrestartable=_fixed_entropy,
        heads={
            "flatten": Head((256, 256), "relu"),
            "nature_cnn": Head((), "relu"),
            "minatar_cnn": Head((64,), "relu"),
            "impala": Head((), "relu"),
        },
        settings={
            **_replaying(learning_rate=3e-4, batch_size=256, tau=0.005, train_freq=1),
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
            "target_update_interval": Setting(
                int, 1, "gradient steps between two updates of the target networks", ge=1
            ),
            "action_noise": ACTION_NOISE,
            **GSDE,
            "use_sde_at_warmup": Setting(bool, False, "gSDE's actions before learning begins, in place of random ones"),
            **_policy(
                {
                    **_noise(log_std=-3.0),
                    "clip_mean": Setting(float, 2.0, "of gSDE: bound of the mean before squashing; 0 for none", ge=0),
                    **CRITICS,
                }
            ),
        },
    ),
    "td3": AgentSpec(
        "agents.td3:TD3",
        "twin delayed deterministic policy gradient, Stable-Baselines3's with hook points",
        data="replay",
        actions=frozenset({"Box"}),
        networks={"actor": "pi", "critic": "qf"},
        paper_networks=("critic",),
        forgets=REPLAYING,
        misfit=_replay_misfit,
        unrestartable=_without_memory,
        heads={
            "flatten": Head((400, 300), "relu"),
            "nature_cnn": Head((256, 256), "relu"),
            "minatar_cnn": Head((64,), "relu"),
            "impala": Head((), "relu"),
        },
        settings={
            **_replaying(learning_rate=1e-3, batch_size=256, tau=0.005, train_freq=1),
            "action_noise": ACTION_NOISE,
            "policy_delay": Setting(int, 2, "gradient steps of the critics for each of the actor", ge=1),
            "target_policy_noise": Setting(float, 0.2, "standard deviation of the noise on the target's actions", ge=0),
            "target_noise_clip": Setting(float, 0.5, "largest such noise", ge=0),
            **_policy(CRITICS),
        },
    ),
}
BUILT_IN = frozenset(AGENTS)
"""Those that are known wherever crl is."""
