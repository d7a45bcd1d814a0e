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
        shares_features: actor and critic have one features extractor, which is a network of its own (``features``).
        paper_networks: those that published resets act on.
        forgets: keys of `agents.at_switch.AtSwitch` that it has something for.
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
    shares_features: bool = False
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


def _common(learning_rate: float, batch_size: int, least: int = 1) -> dict[str, Setting]:
    return {
        "learning_rate": Setting(Schedule, learning_rate, "of the optimizers"),
        "batch_size": Setting(int, batch_size, "transitions of each gradient step", ge=least),
        "gamma": Setting(float, 0.99, "discount of what comes a step later", ge=0, le=1),
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
    }


def _fixed_entropy(given: Mapping[str, Any]) -> tuple[str, str] | None:
    ent_coef = given["ent_coef"]
    if isinstance(ent_coef, str):
        return None
    return f"agent.ent_coef={ent_coef} is fixed", f"give agent.ent_coef=auto_{ent_coef or 0.1} to have it learned"


AGENTS: dict[str, AgentSpec | Entry] = {
    "dqn": AgentSpec(
        "agents.dqn:DQN",
        "deep Q-network, Double DQN as an option, Stable-Baselines3's with hook points",
        data="replay",
        actions=frozenset({"Discrete"}),
        networks={"critic": ""},
        paper_networks=("critic",),
        forgets=REPLAYING,
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
        },
    ),
    "ppo": AgentSpec(
        "agents.ppo:PPO",
        "proximal policy optimisation, Stable-Baselines3's with hook points",
        data="rollout",
        actions=frozenset({"Box", "Discrete", "MultiDiscrete", "MultiBinary"}),
        networks={"actor": "pi", "critic": "vf"},
        shares_features=True,
        paper_networks=("actor", "critic"),
        forgets=SWITCHING,
        heads={
            "flatten": Head((64, 64), "tanh"),
            "nature_cnn": Head((), "tanh"),
            "minatar_cnn": Head((64,), "relu"),
            "impala": Head((), "relu"),
        },
        settings={
            **_common(learning_rate=3e-4, batch_size=64, least=2),
            "n_steps": Setting(int, 2048, "steps of each game in a rollout", ge=1, le=2**20),
            "n_epochs": Setting(int, 10, "passes over each rollout", ge=1),
            "gae_lambda": Setting(
                float, 0.95, "of generalised advantage estimation: 0 looks one step ahead, 1 to the end", ge=0, le=1
            ),
            "clip_range": Setting(Schedule, 0.2, "largest change of a probability ratio that is rewarded"),
            "ent_coef": Setting(float, 0.0, "weight of the entropy bonus"),
            "vf_coef": Setting(float, 0.5, "weight of the value loss", ge=0),
            "max_grad_norm": Setting(float, 0.5, "norm at which gradients are clipped", gt=0),
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
            "use_sde": Setting(bool, False, "generalised state-dependent exploration (gSDE)"),
            "sde_sample_freq": Setting(int, -1, "steps after which gSDE draws anew; -1 for once a rollout", ge=-1),
        },
    ),
    "td3": AgentSpec(
        "agents.td3:TD3",
        "twin delayed deterministic policy gradient, Stable-Baselines3's with hook points",
        data="replay",
        actions=frozenset({"Box"}),
        networks={"actor": "pi", "critic": "qf"},
        paper_networks=("critic",),
        forgets=REPLAYING - {"exploration"},  # noise that has no memory does not change
        heads={
            "flatten": Head((400, 300), "relu"),
            "nature_cnn": Head((256, 256), "relu"),
            "minatar_cnn": Head((64,), "relu"),
            "impala": Head((), "relu"),
        },
        settings={
            **_replaying(learning_rate=1e-3, batch_size=256, tau=0.005, train_freq=1),
            "action_noise": Setting(
                float, None, "standard deviation of the noise on actions from -1 to 1; null for none", gt=0
            ),
            "policy_delay": Setting(int, 2, "gradient steps of the critics for each of the actor", ge=1),
            "target_policy_noise": Setting(float, 0.2, "standard deviation of the noise on the target's actions", ge=0),
            "target_noise_clip": Setting(float, 0.5, "largest such noise", ge=0),
        },
    ),
}
