"""What a config may say. Importing this loads neither torch nor Stable-Baselines3 nor a game."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializeAsAny,
    Strict,
    Tag,
    model_validator,
)

from agents import AGENTS
from agents.plasticity.registry import INTERVENTIONS
from crl.config.imports import NO_MODULE_NAME, is_module_name
from crl.config.messages import nearest, refusal, refused_sentence, shown, unknown_key
from envs.catalogue import GAMES, STREAMS
from envs.checks import closest

# Of every whole number: numpy's legacy generators take 32 bits, games of a batch get seed + i, and sums fit 64 bits.
MAX_WHOLE = 2**31 - 1
MAX_THREADS = 1024
NOT_HASHED = {"runs", "device", "threads"}  # they say where and how fast a run runs, not what it is
OR_ID = ", or give a Gymnasium id with its version, such as CartPole-v1"
UNITS = {  # network -> how to give it hidden units
    "actor": "give it a hidden layer such as [64], or leave it out",
    "critic": "give it a hidden layer such as [64], or leave it out",
    "features": "leave it out, or choose nature_cnn, impala or minatar_cnn where the observations are images or boards",
}

Features = Literal["flatten", "nature_cnn", "minatar_cnn", "impala"]


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise refusal("is not a number; give one such as 0.001")
    return value


Whole = Annotated[int, Strict(), Field(le=MAX_WHOLE)]
Count = Annotated[Whole, Field(ge=1)]
# Bounded lower, because each of them takes memory.
Games = Annotated[Count, Field(le=2**16)]
Width = Annotated[Count, Field(le=2**16)]
Repetitions = Annotated[Count, Field(le=1_000_000)]
# Not strict: PyYAML reads 1e-3 as text.
Number = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
NotNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]


class Model(BaseModel):
    """Base of all sections: immutable, and unknown keys are refused with the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, dict) and cls.model_config.get("extra") == "forbid":
            for key in data:
                if key not in cls.model_fields:
                    raise unknown_key(key, cls.model_fields)
        return data


class Linear(Model):
    """A value that moves in a straight line from the first number to the second over the whole run."""

    linear: tuple[NotNegative, NotNegative]


def _schedule_kind(value: Any) -> str:
    return "~schedule" if isinstance(value, dict | Linear) else "~number"


Schedule = Annotated[
    Annotated[NotNegative, Tag("~number")] | Annotated[Linear, Tag("~schedule")], Discriminator(_schedule_kind)
]


def _is_plain(name: str) -> bool:
    """Whether `name` can only be a name of ours: Gymnasium ids have a version, a namespace or a module."""
    return not re.search(r"[:/]|-v\d+$", name)


def _check_task(entry: Any) -> Any:
    name = entry.get("id") if isinstance(entry, dict) else entry
    if not isinstance(name, str):
        raise refusal("is not a task; give a game, a Gymnasium id or a mapping such as {id: Pendulum-v1, g: 5.0}")
    if name in STREAMS:
        raise refusal("is a stream and no task; give it as stream.name, or list its games")
    if _is_plain(name) and name not in GAMES:
        raise refusal(f"is neither a game nor a Gymnasium id; {nearest(name, GAMES, OR_ID)}")
    if not _is_json(entry):
        raise refusal(
            "has an argument that config.yaml cannot keep; give text (in quotes), finite numbers, true, false, null, "
            "and lists and mappings of them"
        )
    return entry


def _is_json(value: Any) -> bool:
    """Whether JSON, and so the hash, tells `value` from all others; YAML has dates, sets and bytes, too."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, int):
        return abs(value) < 2**63
    return math.isfinite(value) if isinstance(value, float) else value is None or isinstance(value, str)


def _check_stream(name: str) -> str:
    known = [*STREAMS, *GAMES]
    if _is_plain(name) and name not in known:
        raise refusal(f"is neither a stream nor a game nor a Gymnasium id; {nearest(name, known, OR_ID)}")
    return name


class StreamConfig(Model):
    """The stream of tasks: a name, or a list of tasks. Steps are transitions of one game."""

    name: Annotated[str, AfterValidator(_check_stream)] | None = None
    tasks: Annotated[tuple[Annotated[Any, AfterValidator(_check_task)], ...], Field(min_length=1)] | None = None
    steps_per_task: Count | None = None
    cycles: Repetitions | None = None
    order: Literal["sequence", "shuffle", "random"] = "sequence"
    boundary: Literal["hidden", "revealed"] = "hidden"
    align: Literal["rollout", "step"] = "rollout"
    seed: Annotated[Whole, Field(ge=0)] | None = None
    episode_limit: Count = 2500

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.name is None) == (self.tasks is None):
            given = "both are given" if self.name else "neither is given"
            raise refused_sentence(
                f"stream.name={shown(self.name)} and stream.tasks={shown(self.tasks)}: {given}; "
                "give exactly one of them and leave the other out (or set it to null)"
            )
        if self.steps_per_task is None and self.name not in STREAMS:
            raise refused_sentence(
                f"stream.steps_per_task is missing and {shown(self.name or self.tasks)} has no length of its own; "
                "give the steps of each visit, such as stream.steps_per_task=500000"
            )
        return self


class NetArch(Model):
    """Widths of the hidden layers of the actor (pi) and of the critic (vf), after the features."""

    pi: tuple[Width, ...]
    vf: tuple[Width, ...]


def _check_agent(name: str) -> str:
    if name not in AGENTS:
        raise refusal(f"is not a known agent; {nearest(name, AGENTS)}")
    return name


class PPOConfig(Model):
    """PPO. What is left out is as in Stable-Baselines3."""

    name: Annotated[str, AfterValidator(_check_agent)]
    n_envs: Games = 1
    n_steps: Annotated[Count, Field(le=2**20)] = 2048
    batch_size: Annotated[Whole, Field(ge=2)] = 64
    n_epochs: Count = 10
    learning_rate: Schedule = 3e-4
    gamma: Share = 0.99
    gae_lambda: Share = 0.95
    clip_range: Schedule = 0.2
    ent_coef: Number = 0.0
    vf_coef: NotNegative = 0.5
    max_grad_norm: Annotated[Number, Field(gt=0)] = 0.5
    features: Features | None = None
    net_arch: NetArch | None = None
    activation: Literal["relu", "tanh"] | None = None
    norm: Literal["none", "layer"] = "none"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_size > self.n_envs * self.n_steps:
            raise refused_sentence(
                f"agent.batch_size={self.batch_size} is larger than a rollout of agent.n_envs x agent.n_steps = "
                f"{self.n_envs} x {self.n_steps} = {self.n_envs * self.n_steps} steps; lower it or raise agent.n_steps"
            )
        return self

    def networks(self) -> dict[str, str | None]:
        """The networks -> None, or the setting that leaves a network without hidden units."""
        arch = self.net_arch
        return {
            "actor": "agent.net_arch.pi=[]" if arch is not None and not arch.pi else None,
            "critic": "agent.net_arch.vf=[]" if arch is not None and not arch.vf else None,
            "features": "agent.features=flatten" if self.features == "flatten" else None,
        }


class Named(Model):
    """A name and what belongs to it, which only its code knows."""

    model_config = ConfigDict(extra="allow")

    name: str

    @model_validator(mode="before")
    @classmethod
    def _refuse_misspelt_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "name" not in data:
            for key in data:
                if closest(key, ["name"]):
                    raise unknown_key(key, ["name"])
        return data


class InterventionConfig(Named):
    """An intervention's name and its arguments, which `crl.config.check_interventions` looks at."""

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for the intervention's constructor."""
        return self.model_dump(exclude={"name"})


def _check_module(name: str) -> str:
    if not is_module_name(name):
        raise refusal(NO_MODULE_NAME)
    return name


def _check_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?", name):
        raise refusal("is not a device; give auto, cpu, cuda or cuda:0")
    return name


def _check_threads(value: Any) -> Any:
    if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_THREADS):
        raise refusal(f"is not a number of threads; give auto or a whole number from 1 to {MAX_THREADS}")
    return value


class RunConfig(Model):
    """One run."""

    stream: StreamConfig
    agent: PPOConfig
    imports: tuple[Annotated[str, AfterValidator(_check_module)], ...] = ()
    interventions: tuple[SerializeAsAny[InterventionConfig], ...] = ()
    seed: Annotated[Whole, Field(ge=0)] = 0
    device: Annotated[str, AfterValidator(_check_device)] = "auto"
    threads: Annotated[int | Literal["auto"], BeforeValidator(_check_threads)] = "auto"
    runs: Annotated[str, Field(min_length=1), AfterValidator(os.path.expanduser)] = "runs"

    @model_validator(mode="after")
    def _check(self) -> Self:
        # What modules register is known once they are imported, which takes its time.
        problem = (None if self.imports else self.names_problem()) or self.networks_problem()
        if problem is not None:
            raise refused_sentence(problem)
        return self

    def names_problem(self) -> str | None:
        """The sentence that refuses the first intervention that nobody has registered, None if all are known."""
        for i, intervention in enumerate(self.interventions):
            name = intervention.name
            if name not in INTERVENTIONS:
                key = f"interventions.{i}.name={shown(name)}"
                return f"{key} is not a known intervention; {nearest(name, INTERVENTIONS)}"
        return None

    def networks_problem(self) -> str | None:
        """The sentence that refuses the first reset of units in a network that has none, None if none is.

        What the config leaves out is not looked at, so ask again once it is filled in.
        """
        networks = self.agent.networks()
        for i, intervention in enumerate(self.interventions):
            arguments = intervention.arguments()
            if "networks" not in arguments:
                continue
            given = arguments["networks"]
            key = f"interventions.{i}.networks={shown(given)}"
            known = INTERVENTIONS.get(intervention.name)
            of_units = known is not None and known.of_units
            if of_units and given is None and all(networks.values()):
                settings = ", ".join(filter(None, networks.values()))
                return (
                    f"{key} stands for all networks, of which none has hidden units with {settings}; "
                    "give a hidden layer, such as agent.net_arch.pi=[64], or leave the intervention out"
                )
            for name in given if isinstance(given, list) else ():
                if not isinstance(name, str):
                    continue  # refused with the types of all arguments
                if name not in networks:
                    return f"{key} names {name!r}, which is no network; {nearest(name, networks)}"
                if of_units and networks[name] is not None:
                    return f"{key} names {name}, which has no hidden units with {networks[name]}; {UNITS[name]}"
        return None

    def resolved(self) -> RunConfig:
        """This config with the defaults filled in that depend on other keys."""
        stream = self.stream
        named = STREAMS.get(stream.name or "")
        steps, cycles = (named.steps_per_task, named.cycles) if named else (stream.steps_per_task, 1)
        return self.model_copy(
            update={
                "stream": stream.model_copy(
                    update={
                        "steps_per_task": stream.steps_per_task or steps,
                        "cycles": stream.cycles or cycles,
                        "seed": self.seed if stream.seed is None else stream.seed,
                    }
                )
            }
        )


def to_yaml(config: RunConfig) -> str:
    """The config as YAML that `crl.config.load` reads again; a task or a stream that is not given is left out."""
    data = config.model_dump(mode="json")
    data["stream"] = {key: value for key, value in data["stream"].items() if value is not None}
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return text


def config_hash(config: RunConfig) -> str:
    """What the run is known by: 16 hexadecimal digits that depend on all that decides its numbers."""
    text = json.dumps(config.model_dump(mode="json", exclude=NOT_HASHED), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
