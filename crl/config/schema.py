"""What a config may say. Importing this loads neither torch nor Stable-Baselines3 nor a game."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args, get_type_hints

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, create_model, model_validator

from agents.at_switch import AtSwitch
from agents.specs import BUILT_IN
from crl.config import problems
from crl.config.agents import AnyAgent, UnknownAgent
from crl.config.evaluation import EvaluationConfig
from crl.config.fields import DEFAULTS_FOR_NULL, Count, CountOrZero, Flag, Model, Named, Range, whole
from crl.config.imports import NO_MODULE_NAME, is_module_name
from crl.config.messages import nearest, refusal, refused_sentence
from crl.config.stream import StreamConfig

Logger = Literal["tensorboard", "wandb", "mlflow"]
TENSORBOARD: Logger = "tensorboard"
MAX_THREADS = 1024
# They say where and how fast a run runs, who is told of it and what it is called, but not what it is.
NOT_HASHED: Any = {"runs": True, "device": True, "threads": True, "logger": True, "stream": {"label"}}


class InterventionConfig(Named):
    """An intervention's name and its arguments, which `crl.config.check_arguments` looks at."""

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for the intervention's constructor."""
        return self.model_dump(exclude={"name"})


class PartConfig(Named):
    """A part's name and its arguments, which `crl.config.check_arguments` looks at."""

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for the part's constructor."""
        return self.model_dump(exclude={"name"})


class NormalizeConfig(Model):
    """Running normalisation of what the agent sees, by SB3's `VecNormalize`.

    Attributes:
        obs: observations get a mean of 0 and a variance of 1; left out, those of floats where agent.network is simba.
        reward: rewards are divided by the standard deviation of their discounted sums.
    """

    obs: Flag | None = None
    reward: Flag = False

    @property
    def used(self) -> bool:
        """Whether anything is normalised."""
        return bool(self.obs) or self.reward


class CheckpointConfig(Model):
    """When the run saves all that it needs to go on, and how many of these stay.

    Attributes:
        every: steps between two checkpoints, each at the end of an update.
        keep: how many of the newest stay.
        visits: also the parameters at the end of every visit stay, in the folder visits.
    """

    every: Count = 100_000
    keep: Annotated[int, Range(1, 10_000)] = 3
    visits: Flag = False


class DiagnosticsConfig(Model):
    """What is measured of the networks beside all that always is, and which training does not notice either.

    Attributes:
        trainability: once per visit copies of the networks are trained, to see whether they still can be; less often
            where that would cost more than a few percent of training.
    """

    trainability: Flag = True


def _of_at_switch() -> type[Model]:
    """A section with the keys of `agents.at_switch.AtSwitch`."""
    hints = get_type_hints(AtSwitch)
    found: dict[str, Any] = {
        field.name: (CountOrZero if hints[field.name] is int else hints[field.name], field.default)
        for field in fields(AtSwitch)
    }
    return create_model("AtSwitch", __base__=Model, **found)


class AtSwitchConfig(_of_at_switch()):  # type: ignore[misc]
    """What the learner forgets at a revealed boundary."""

    documented = AtSwitch

    def changes(self) -> dict[str, Any]:
        """What is not kept, by key; empty where all is."""
        return AtSwitch(**self.model_dump()).changes


def _check_module(name: str) -> str:
    if not is_module_name(name):
        raise refusal(NO_MODULE_NAME)
    return name


def _check_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?", name):
        raise refusal("is not a device; give auto, cpu, cuda or cuda:0")
    return name


def _check_threads(value: Any) -> Any:
    value = whole(value)
    if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_THREADS):
        raise refusal(f"is not a number of threads; give auto or a whole number from 1 to {MAX_THREADS}")
    return value


def _loggers(value: Any) -> Any:
    """The list that one of them stands for."""
    if not isinstance(value, str):
        return value
    if value not in get_args(Logger):
        raise refusal(f"is not known; {nearest(value, get_args(Logger))}")
    return [value]


class _Learning(Model):
    """What learns, and from what.

    Attributes:
        stream: which task comes when.
        agent: what learns.
        from: a run, one of its checkpoints or an SB3 zip, with whose parameters the agent begins, whatever its world.
    """

    stream: StreamConfig
    agent: AnyAgent


if TYPE_CHECKING:
    _Beginning = _Learning
else:  # the key is a word of Python's, with which no class can write a field
    _SOURCE = Annotated[str, Field(min_length=1), AfterValidator(os.path.expanduser)] | None
    _Beginning = create_model("Beginning", __base__=_Learning, **{"from": (_SOURCE, None)})


class RunConfig(_Beginning):
    """One run.

    Attributes:
        normalize: what of the games is normalised for the agent.
        at_switch: what the learner forgets at a revealed boundary.
        imports: modules of one's own, which register what they bring.
        interventions: what keeps the networks plastic, in the order in which it acts.
        parts: what the run has beside its own parts, such as a log of one's own.
        evaluation: when the agent plays all tasks of the stream, and how.
        checkpoint: when the run saves all that it needs to go on.
        diagnostics: what is measured of the networks.
        seed: decides all that is drawn.
        device: auto, cpu, cuda or cuda:0; auto takes a GPU where there is one.
        threads: of torch on the CPU; auto takes OMP_NUM_THREADS, or else every core.
        logger: what shows the run: tensorboard, which always does, and wandb or mlflow, or a list, beside it.
        runs: folder in which the run makes one of its own.
    """

    normalize: Annotated[NormalizeConfig, DEFAULTS_FOR_NULL] = NormalizeConfig()
    at_switch: Annotated[AtSwitchConfig, DEFAULTS_FOR_NULL] = AtSwitchConfig()
    imports: tuple[Annotated[str, AfterValidator(_check_module)], ...] = ()
    interventions: tuple[SerializeAsAny[InterventionConfig], ...] = ()
    parts: tuple[SerializeAsAny[PartConfig], ...] = ()
    evaluation: Annotated[EvaluationConfig, DEFAULTS_FOR_NULL] = EvaluationConfig()
    checkpoint: Annotated[CheckpointConfig, DEFAULTS_FOR_NULL] = CheckpointConfig()
    diagnostics: Annotated[DiagnosticsConfig, DEFAULTS_FOR_NULL] = DiagnosticsConfig()
    seed: CountOrZero = 0
    device: Annotated[str, AfterValidator(_check_device)] = "auto"
    threads: Annotated[int | Literal["auto"], BeforeValidator(_check_threads)] = "auto"
    logger: Annotated[tuple[Logger, ...], BeforeValidator(_loggers)] = (TENSORBOARD,)
    runs: Annotated[str, Field(min_length=1), AfterValidator(os.path.expanduser)] = "runs"

    @property
    def services(self) -> tuple[str, ...]:
        """What mirrors TensorBoard, each once."""
        return tuple(name for name in dict.fromkeys(self.logger) if name != TENSORBOARD)

    @property
    def source(self) -> str | None:
        """The key `from`: a run, one of its checkpoints or an SB3 zip, with whose parameters the agent begins."""
        found: str | None = getattr(self, "from")
        return found

    @model_validator(mode="after")
    def _check(self) -> Self:
        # What modules register is known once they are imported, which takes its time.
        problem = None if self.imports else problems.of_names(self)
        if problem is None and not isinstance(self.agent, UnknownAgent):
            problem = problems.of_networks(self) or problems.of_switches(self) or problems.of_length(self)
        if problem is not None:
            raise refused_sentence(problem)
        return self

    def modules(self) -> dict[str, str]:
        """The modules that it has imported -> the key that names them."""
        found = {name: f"imports.{i}" for i, name in enumerate(self.imports)}
        tasks = {f"stream.tasks.{i}": task for i, task in enumerate(self.stream.tasks or ())}
        for key, task in {"stream.name": self.stream.name, **tasks}.items():
            module, colon, _ = str(task.get("id") if isinstance(task, dict) else task).rpartition(":")
            if colon:
                found.setdefault(module, key)
        return found

    def resolved(self) -> RunConfig:
        """This config with the defaults filled in that depend on other keys."""
        return self.model_copy(update={"stream": self.stream.resolved(self.seed)})


def to_yaml(config: RunConfig) -> str:
    """The config as YAML that `crl.config.load` reads again; a source, tasks or a stream not given are left out."""
    data = config.model_dump(mode="json", exclude={"from"} if config.source is None else None)
    data["stream"] = {key: value for key, value in data["stream"].items() if value is not None}
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return text


def config_hash(config: RunConfig) -> str:
    """What the run is known by: 16 hexadecimal digits that depend on all that decides its numbers."""
    # Without what is as by default: a key that a later version adds leaves the runs of this one as they are.
    data = config.model_dump(mode="json", exclude=NOT_HASHED, exclude_defaults=True)
    if config.agent.name not in BUILT_IN:  # whose defaults nobody knows where its code is not run
        data["agent"] = config.agent.model_dump(mode="json")
    text = json.dumps(data, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
