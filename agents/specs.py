"""What is known of each algorithm before its code is imported: one record each. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from agents.plasticity.registry import Entry

Data = Literal["replay", "rollout"]
SWITCHING = frozenset({"optimizer", "normalizer"})
REPLAYING = SWITCHING | {"replay", "exploration", "random_steps"}


class Head(NamedTuple):
    """Hidden layers behind features, where none are given: SB3's, or as published with the features extractor."""

    widths: tuple[int, ...]
    activation: str


@dataclass(frozen=True)
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
        heads: features -> the hidden layers behind them, of each network, where a config gives none.
    """

    target: str | Callable[..., Any]
    summary: str
    data: Data
    actions: frozenset[str]
    networks: Mapping[str, str]
    paper_networks: tuple[str, ...]
    forgets: frozenset[str]
    heads: Mapping[str, Head]
    shares_features: bool = False

    def resolve(self) -> Any:
        """Import the class, where need be."""
        return Entry(self.target, self.summary).resolve()


AGENTS: dict[str, AgentSpec] = {
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
    ),
    "sac": AgentSpec(
        "agents.sac:SAC",
        "soft actor-critic, Stable-Baselines3's with hook points",
        data="replay",
        actions=frozenset({"Box"}),
        networks={"actor": "pi", "critic": "qf"},
        paper_networks=("critic",),
        forgets=REPLAYING,
        heads={
            "flatten": Head((256, 256), "relu"),
            "nature_cnn": Head((), "relu"),
            "minatar_cnn": Head((64,), "relu"),
            "impala": Head((), "relu"),
        },
    ),
}
