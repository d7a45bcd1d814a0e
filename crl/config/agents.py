"""The section `agent`, made for each algorithm from its record. What is left out is as in Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    SerializeAsAny,
    Tag,
    create_model,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from agents.networks.spec import NO_ACTIVATIONS, Activation, Features, Norm, Trunk
from agents.optimizers import ADAM, adam_settings
from agents.specs import AGENTS, NOT_IN_CONFIGS, AgentSpec, agent_spec, known_specs
from crl.config.fields import (
    Flag,
    Games,
    Model,
    Number,
    Width,
    refuse_misspelt_name,
)
from crl.config.messages import (
    foreign_key,
    in_words,
    nearest,
    one_line,
    refusal,
    refused_sentence,
    shown,
)
from crl.config.optimizers import DEFAULT, OF_ADAM, AnyOptimizer
from crl.config.settings import fields_of, plain, refuse_misplaced

Layers = tuple[Width, ...]


def _known_activation(name: Any) -> Any:
    """The activation function as it is written down, however it is spelt."""
    if not isinstance(name, str):
        return name
    name = name.lower()
    if name in NO_ACTIVATIONS:
        raise refusal(f"{NO_ACTIVATIONS[name]}; give another one, such as relu, elu or silu")
    return name


class NetArch(Model):
    """Widths of the hidden layers of several networks, after the features.

    Attributes:
        pi: of the actor.
        vf: of the critic.
        qf: of the critics.
    """

    @model_validator(mode="before")
    @classmethod
    def _refuse_others(cls, data: Any) -> Any:
        if not isinstance(data, dict | cls):
            example = ", ".join(f"{key}: [64]" for key in cls.model_fields)
            raise refusal(f"is neither a list nor a mapping; write it as [64], alike for all, or as {{{example}}}")
        return data


class AgentConfig(Model):
    """What all agents have; the section of each has the settings of its record beside it.

    Attributes:
        name: which one; crl list agents shows all.
        n_envs: games that are played at once.
        features: what makes features of the observations; left out, what suits them.
        net_arch: widths of the hidden layers behind the features; left out, as published with these.
        activation: of the hidden layers; left out, as published with the features.
        norm: layer puts a layer normalisation before every activation, rms one by the root mean square.
        dropout: share of the values behind every activation of a linear layer that training puts to 0.
        network: simba makes residual blocks of the hidden layers behind the features.
        injectable: plasticity_injection can act on the layers behind the features.
        optimizer: of the networks; a name, or a mapping of it and its settings. crl list optimizers shows all.
    """

    spec: ClassVar[AgentSpec]
    arch: ClassVar[type[NetArch] | None]
    """Of `net_arch`; None where this is the widths themselves."""

    name: str
    n_envs: Games = 1
    features: Features | None = None
    net_arch: Any = None
    activation: Annotated[Activation | None, BeforeValidator(_known_activation)] = None
    norm: Norm = "none"
    dropout: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    network: Trunk = "mlp"
    injectable: Flag = False
    optimizer: AnyOptimizer = DEFAULT

    @model_validator(mode="before")
    @classmethod
    def _refuse_settings_of_others(cls, data: Any) -> Any:
        refuse_misplaced(cls, data, NOT_IN_CONFIGS)
        for key in data if isinstance(data, dict) else ():
            owners = [name for name in known_specs() if key in agent_section(name).model_fields]
            if key not in cls.model_fields and owners:
                raise foreign_key(key, in_words(owners), data["name"])
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        problem = self._problem()
        if problem is not None:
            raise refused_sentence(problem)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Sections are made at run time, where pickle does not find them."""
        return _of_its_record, (self.model_dump(),)

    def _problem(self) -> str | None:
        """The sentence that refuses settings which do not go together."""
        problem = self.spec.misfit(self.settings) or self._optimizer_problem()
        return problem or (self._replay_problem() if self.spec.data == "replay" else self._rollout_problem())

    def _optimizer_problem(self) -> str | None:
        name, given = self.optimizer.name, self.settings.get("policy_kwargs", {}).get("optimizer_kwargs")
        defaults = {key: setting.default for key, setting in adam_settings(self.spec.adam_eps).items()}
        if name == ADAM or given in (None, defaults):
            return None
        return f"{OF_ADAM}={shown(given)} are settings of adam, but agent.optimizer is {name}; give one of them up"

    def _replay_problem(self) -> str | None:
        size = self.settings["buffer_size"]
        for key in ("n_envs", "batch_size"):
            least = getattr(self, key)
            if size < least:
                return (
                    f"agent.buffer_size={size} is below agent.{key}={least}; give at least {least}, "
                    f"or lower agent.{key}"
                )
        if self.settings.get("optimize_memory_usage") and size < 2 * self.n_envs:
            return (
                f"agent.buffer_size={size} holds one step of agent.n_envs={self.n_envs} games, which with "
                f"agent.optimize_memory_usage=true needs the one behind it; give at least {2 * self.n_envs}"
            )
        return None

    def _rollout_problem(self) -> str | None:
        batch_size = self.settings.get("batch_size", 1)
        if batch_size <= self.rollout:
            return None
        return (
            f"agent.batch_size={batch_size} is larger than a rollout of agent.n_envs x agent.n_steps = "
            f"{self.n_envs} x {self.settings['n_steps']} = {self.rollout} steps; lower it or raise agent.n_steps"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of the learner's constructor."""
        return {key: plain(getattr(self, key)) for key in self.spec.settings}

    @property
    def rollout(self) -> int:
        """Steps between two updates, of all games."""
        frequency: int = self.settings[self.spec.frequency]
        return self.n_envs * frequency

    @classmethod
    def arranged(cls, widths: Mapping[str, Layers]) -> NetArch | Layers:
        """The `net_arch` with these hidden layers of each network."""
        found = {key: widths[name] for name, key in cls.spec.networks.items()}
        return found[""] if cls.arch is None else cls.arch(**found)

    @property
    def layer_example(self) -> str:
        """An override that gives the agent a hidden layer."""
        return f"{_key_of(self.spec.networks[self.spec.paper_networks[0]])}=[64]"

    def networks(self) -> dict[str, str | None]:
        """The networks -> None, or the settings that leave a network without hidden units."""
        flat = "agent.features=flatten" if self.features == "flatten" else None
        shares = self.spec.shares(self.settings)
        found: dict[str, str | None] = {}
        for name, key in self.spec.networks.items():
            widths = getattr(self.net_arch, key) if key and self.net_arch is not None else self.net_arch
            without = f"{_key_of(key)}=[]" if widths == () else None
            if not shares:
                without = f"{flat} and {without}" if flat and without else None
            found[name] = without
        return {**found, "features": flat} if shares else found


class UnknownAgent(AgentConfig):
    """An agent that a module of `imports` may register."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _refuse_settings_of_others(cls, data: Any) -> Any:
        return data

    def _problem(self) -> str | None:
        return None


def _key_of(network: str) -> str:
    """The key of a network's hidden layers."""
    return f"agent.net_arch.{network}" if network else "agent.net_arch"


def agent_section(name: str) -> type[AgentConfig]:
    """The section of an agent; that of an installed plugin is imported."""
    try:
        return _section(name, agent_spec(name))
    except Exception as error:
        raise refused_sentence(
            f"agent.name={shown(name)} is {AGENTS[name].target}, which cannot be used ({type(error).__name__}: "
            f"{one_line(error)}); correct it or give another agent"
        ) from error


@cache
def _section(name: str, spec: AgentSpec) -> type[AgentConfig]:
    taken = [key for key in spec.settings if hasattr(AgentConfig, key) or key in AgentConfig.model_fields]
    if taken:
        raise ValueError(f"its setting {taken[0]!r} has a name that something else has; give it another one")
    widths: dict[str, Any] = {key: (Layers, ...) for key in spec.networks.values() if key}
    owner = name.upper()
    arch = create_model(f"{owner}NetArch", __base__=NetArch, **widths) if widths else None
    fields = fields_of(spec.settings, owner)
    fields |= {"name": (Literal[name], ...), "net_arch": (_layers(arch) | None, None)}
    section: type[AgentConfig] = create_model(f"{owner}Config", __base__=AgentConfig, __doc__=spec.summary, **fields)
    section.spec, section.arch = spec, arch
    return section


def _layers(arch: type[NetArch] | None) -> Any:
    """The type of `net_arch`: of several networks a list, too, which stands for each of them."""
    if arch is None:
        return Layers

    def kind(value: Any) -> str:
        return "~list" if isinstance(value, list | tuple) else "~mapping"

    def spread(value: Any) -> Any:
        return arch(**dict.fromkeys(arch.model_fields, value)) if isinstance(value, tuple) else value

    either = Annotated[Layers, Tag("~list")] | Annotated[arch, Tag("~mapping")]  # type: ignore[valid-type]
    return Annotated[either, Discriminator(kind), AfterValidator(spread)]


def _of_its_record(data: Any) -> Any:
    """The section of the agent that is named; of one that nobody knows yet, what all agents have."""
    if not isinstance(data, dict):
        return data
    refuse_misspelt_name(data)
    if "name" not in data:
        raise refused_sentence("agent.name is missing; add it to the config or give agent.name=VALUE")
    name = data["name"]
    if not isinstance(name, str):
        raise refused_sentence(unknown_agent(name))
    return (agent_section(name) if name in AGENTS else UnknownAgent).model_validate(data)


def unknown_agent(name: Any) -> str:
    """The sentence that refuses an agent that nobody has registered."""
    return f"agent.name={shown(name)} is not a known agent; {nearest(str(name), AGENTS)}"


class _AnyOfThem:
    """Shows the sections of all agents in the JSON schema."""

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        sections = {name: handler(agent_section(name).__pydantic_core_schema__) for name in AGENTS}
        mapping = {name: section["$ref"] for name, section in sections.items()}
        return {"oneOf": [*sections.values()], "discriminator": {"propertyName": "name", "mapping": mapping}}


AnyAgent = Annotated[SerializeAsAny[AgentConfig], BeforeValidator(_of_its_record), _AnyOfThem()]
