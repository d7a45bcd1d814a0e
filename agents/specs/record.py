"""What is known of an algorithm before its code is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from agents.networks.spec import Activation, Features
from agents.plasticity.registry import resolve
from agents.settings import Setting

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
