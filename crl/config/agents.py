"""The section `agent`: one class for each learner. What is left out is as in Stable-Baselines3."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from agents import AGENTS
from crl.config.fields import (
    Count,
    CountOrZero,
    Flag,
    Games,
    Model,
    NotNegative,
    Number,
    Positive,
    PositiveShare,
    Schedule,
    Share,
    Whole,
    Width,
    number,
    refuse_misspelt_name,
)
from crl.config.messages import foreign_key, nearest, refusal, refused_sentence, shown

Features = Literal["flatten", "nature_cnn", "minatar_cnn", "impala"]
Activation = Literal["relu", "tanh", "leaky_relu"]
Layers = tuple[Width, ...]


class NetArch(Model):
    """Widths of the hidden layers of two networks, after the features."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_others(cls, data: Any) -> Any:
        if not isinstance(data, dict | cls):
            example = ", ".join(f"{key}: [64]" for key in cls.model_fields)
            raise refusal(f"is not a mapping; write it in braces, such as {{{example}}}")
        return data


class ActorCriticArch(NetArch):
    """Of PPO: the actor (pi) and the critic (vf)."""

    pi: Layers
    vf: Layers


class ActorCriticsArch(NetArch):
    """Of SAC: the actor (pi) and each of the two Q-functions (qf)."""

    pi: Layers
    qf: Layers


class AgentConfig(Model):
    """What all agents have."""

    layer_example: ClassVar[str] = "agent.net_arch.pi=[64]"
    """An override that gives the agent a hidden layer."""
    paper_networks: ClassVar[tuple[str, ...]]
    """The networks that ``networks: paper`` stands for."""
    switch_keys: ClassVar[frozenset[str]]
    """Keys of `at_switch` that the agent has something for."""

    name: str
    n_envs: Games = 1
    learning_rate: Schedule
    batch_size: Count
    gamma: Share = 0.99
    features: Features | None = None
    net_arch: Any = None
    activation: Activation | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_settings_of_others(cls, data: Any) -> Any:
        for key in data if isinstance(data, dict) else ():
            owners = [name for name, other in AGENT_CONFIGS.items() if key in other.model_fields]
            if key not in cls.model_fields and owners:
                raise foreign_key(key, " and ".join(owners), data["name"])
        return data

    @property
    def rollout(self) -> int:
        """Steps between two updates."""
        raise NotImplementedError

    def networks(self) -> dict[str, str | None]:
        """The networks -> None, or the settings that leave a network without hidden units."""
        raise NotImplementedError


class PPOConfig(AgentConfig):
    """PPO."""

    paper_networks = ("actor", "critic")
    switch_keys = frozenset({"optimizer", "normalizer"})

    name: Literal["ppo"]
    n_steps: Annotated[Count, Field(le=2**20)] = 2048
    batch_size: Annotated[Whole, Field(ge=2)] = 64
    n_epochs: Count = 10
    learning_rate: Schedule = 3e-4
    gae_lambda: Share = 0.95
    clip_range: Schedule = 0.2
    ent_coef: Number = 0.0
    vf_coef: NotNegative = 0.5
    max_grad_norm: Positive = 0.5
    net_arch: ActorCriticArch | None = None
    norm: Literal["none", "layer"] = "none"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_size > self.rollout:
            raise refused_sentence(
                f"agent.batch_size={self.batch_size} is larger than a rollout of agent.n_envs x agent.n_steps = "
                f"{self.n_envs} x {self.n_steps} = {self.rollout} steps; lower it or raise agent.n_steps"
            )
        return self

    @property
    def rollout(self) -> int:
        """Steps between two updates: `n_steps` of every game."""
        return self.n_envs * self.n_steps

    def networks(self) -> dict[str, str | None]:
        """As in `AgentConfig`; actor and critic share the features."""
        arch = self.net_arch
        return {
            "actor": "agent.net_arch.pi=[]" if arch is not None and not arch.pi else None,
            "critic": "agent.net_arch.vf=[]" if arch is not None and not arch.vf else None,
            "features": "agent.features=flatten" if self.features == "flatten" else None,
        }


def _check_gradient_steps(value: int) -> int:
    if value == 0:
        raise refusal("would learn nothing; give at least 1, or -1 for as many as steps taken")
    return value


class OffPolicyConfig(AgentConfig):
    """What agents with a replay buffer have."""

    layer_example = "agent.net_arch.qf=[64]"
    paper_networks = ("critic",)
    switch_keys = frozenset({"replay", "exploration", "random_steps", "optimizer", "normalizer"})

    buffer_size: Count = 1_000_000
    learning_starts: CountOrZero = 100
    tau: PositiveShare
    train_freq: Annotated[Count, Field(le=2**20)]
    gradient_steps: Annotated[Whole, Field(ge=-1), AfterValidator(_check_gradient_steps)] = 1
    n_steps: Annotated[Count, Field(le=2**10)] = 1
    target_update_interval: Count

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key in ("n_envs", "batch_size"):
            least = getattr(self, key)
            if self.buffer_size < least:
                raise refused_sentence(
                    f"agent.buffer_size={self.buffer_size} is below agent.{key}={least}; give at least {least}, "
                    f"or lower agent.{key}"
                )
        return self

    @property
    def rollout(self) -> int:
        """Steps between two updates: `train_freq` of every game."""
        return self.n_envs * self.train_freq

    def _without_units(self, key: str, layers: Layers | None) -> str | None:
        """The settings that leave a network without hidden units that has features of its own; None if it has some."""
        if self.features == "flatten" and layers == ():
            return f"agent.features=flatten and agent.{key}=[]"
        return None


class DQNConfig(OffPolicyConfig):
    """DQN, with Double DQN and an epsilon of its own for each game as options."""

    layer_example = "agent.net_arch=[64]"

    name: Literal["dqn"]
    learning_rate: Schedule = 1e-4
    batch_size: Count = 32
    tau: PositiveShare = 1.0
    train_freq: Annotated[Count, Field(le=2**20)] = 4
    target_update_interval: Count = 10_000
    exploration_fraction: PositiveShare = 0.1
    exploration_initial_eps: Share = 1.0
    exploration_final_eps: Share = 0.05
    max_grad_norm: Positive = 10.0
    double_q: Flag = False
    epsilon_per_env: Flag = False
    net_arch: Layers | None = None

    def networks(self) -> dict[str, str | None]:
        """As in `AgentConfig`; the features belong to the critic."""
        return {"critic": self._without_units("net_arch", self.net_arch)}


def _check_entropy(value: Any) -> Any:
    """A number, or ``auto``."""
    found = number(value)
    if found is None and value != "auto":
        raise refusal("is neither auto nor a number; give auto, or a number such as -1.0")
    return value if found is None else found


def _check_ent_coef(value: Any) -> Any:
    """A number of at least 0, or ``auto``, with the positive number that it begins at behind an underscore."""
    if value == "auto":
        return value
    begin = value.removeprefix("auto_") if isinstance(value, str) else value
    learned, found = begin != value, number(begin)
    # SB3 reads no further than to the next underscore, which Python takes for a part of the number.
    if found is None or found < 0 or (learned and (found == 0 or "_" in begin)):
        raise refusal("is no entropy coefficient; give auto, auto_0.1 to begin at 0.1, or a number such as 0.1")
    return value if learned else found


class SACConfig(OffPolicyConfig):
    """SAC."""

    name: Literal["sac"]
    learning_rate: Schedule = 3e-4
    batch_size: Count = 256
    tau: PositiveShare = 0.005
    train_freq: Annotated[Count, Field(le=2**20)] = 1
    ent_coef: Annotated[float | str, BeforeValidator(_check_ent_coef)] = "auto"
    target_entropy: Annotated[float | str, BeforeValidator(_check_entropy)] = "auto"
    target_update_interval: Count = 1
    use_sde: Flag = False
    sde_sample_freq: Annotated[Whole, Field(ge=-1)] = -1
    net_arch: ActorCriticsArch | None = None

    def networks(self) -> dict[str, str | None]:
        """As in `AgentConfig`; actor and critic have features of their own."""
        arch = self.net_arch
        return {
            "actor": self._without_units("net_arch.pi", None if arch is None else arch.pi),
            "critic": self._without_units("net_arch.qf", None if arch is None else arch.qf),
        }


AGENT_CONFIGS: dict[str, type[AgentConfig]] = {"ppo": PPOConfig, "dqn": DQNConfig, "sac": SACConfig}


def _check_name(data: Any) -> Any:
    """Refuse an agent that nobody knows before its settings are looked at."""
    if isinstance(data, dict):
        refuse_misspelt_name(data)
        if "name" not in data:
            raise refused_sentence("agent.name is missing; add it to the config or give agent.name=VALUE")
        name = data["name"]
        if not isinstance(name, str) or name not in AGENT_CONFIGS:
            raise refused_sentence(f"agent.name={shown(name)} is not a known agent; {nearest(str(name), AGENTS)}")
    return data


def _tag(data: Any) -> str:
    name = data.get("name") if isinstance(data, dict) else getattr(data, "name", None)
    return f"~{name if isinstance(name, str) and name in AGENT_CONFIGS else 'ppo'}"


AnyAgent = Annotated[
    Annotated[PPOConfig, Tag("~ppo")] | Annotated[DQNConfig, Tag("~dqn")] | Annotated[SACConfig, Tag("~sac")],
    Discriminator(_tag),
    BeforeValidator(_check_name),
]
