"""What a config may say. Importing this loads neither torch nor Stable-Baselines3 nor a game."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args, get_type_hints

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, create_model, model_validator

from agents.at_switch import AtSwitch
from agents.plasticity.registry import INTERVENTIONS
from agents.specs import AGENTS, BUILT_IN, known_specs
from crl.config.agents import AnyAgent, UnknownAgent, unknown_agent
from crl.config.evaluation import EvaluationConfig
from crl.config.fields import DEFAULTS_FOR_NULL, Count, CountOrZero, Flag, Model, Named, Range, whole
from crl.config.imports import NO_MODULE_NAME, is_module_name
from crl.config.messages import in_words, nearest, refusal, refused_sentence, shortened, shown
from crl.config.parts import PARTS
from crl.config.stream import StreamConfig

Logger = Literal["tensorboard", "wandb", "mlflow"]
TENSORBOARD: Logger = "tensorboard"
MAX_THREADS = 1024
# They say where and how fast a run runs, who is told of it and what it is called, but not what it is.
NOT_HASHED: Any = {"runs": True, "device": True, "threads": True, "logger": True, "stream": {"label"}}
HIDDEN = "give it a hidden layer such as [64], or leave it out"
UNITS = {  # network -> how to give it hidden units
    "actor": HIDDEN,
    "critic": HIDDEN,
    "features": "leave it out, or choose nature_cnn, impala or minatar_cnn where the observations are images or boards",
}


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
        problem = None if self.imports else self.names_problem()
        if problem is None and not isinstance(self.agent, UnknownAgent):
            problem = self.networks_problem() or self.switch_problem() or self._length_problem()
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

    def names_problem(self) -> str | None:
        """The sentence that refuses the first name that nobody has registered, None if all are known."""
        if self.agent.name not in AGENTS:
            return unknown_agent(self.agent.name)
        for i, intervention in enumerate(self.interventions):
            name = intervention.name
            if name not in INTERVENTIONS:
                key = f"interventions.{i}.name={shown(name)}"
                return f"{key} is not a known intervention; {nearest(name, INTERVENTIONS)}"
        for i, part in enumerate(self.parts):
            if part.name not in PARTS:
                key, imports = f"parts.{i}.name={shown(part.name)}", "give the module that registers it in imports"
                return f"{key} is not a known part; {nearest(part.name, PARTS, imports)}"
        return None

    def networks_problem(self) -> str | None:
        """The sentence that refuses the first reset of units in a network that has none, None if none is.

        What the config leaves out is not looked at, so ask again once it is filled in.
        """
        for i, intervention in enumerate(self.interventions):
            arguments = intervention.arguments()
            if "networks" in arguments:
                known = INTERVENTIONS.get(intervention.name)
                of_units = known is not None and known.of_units
                problem = self._reset_problem(f"interventions.{i}", arguments["networks"], of_units)
                if problem is not None:
                    return problem
        return None

    def repetitions(self) -> Iterator[str]:
        """Sentences on interventions that do again, to the same networks, what another one does."""
        known: list[tuple[str, Any, frozenset[str]]] = []
        for i, intervention in enumerate(self.interventions):
            arguments = intervention.arguments()
            acts_on = self._meant(arguments.get("networks"))
            # The general form is another method with another criterion.
            same = (intervention.name, arguments.get("criterion"))
            for j, (*other, networks) in enumerate(known):
                if (*other,) == same and (both := [name for name in acts_on if name in networks]):
                    yield (
                        f"interventions.{i} is {intervention.name} on {in_words(both)}, as interventions.{j} is, so "
                        "that both act there; give them different networks, or leave one out"
                    )
            known.append((*same, frozenset(acts_on)))

    def _meant(self, given: Any) -> Sequence[str]:
        """The networks that an intervention's argument stands for."""
        if given == "paper":
            return self.agent.spec.paper_networks
        return tuple(self.agent.networks()) if given is None else given

    def _reset_problem(self, owner: str, given: Any, of_units: bool) -> str | None:
        """The sentence that refuses `given` as the networks of an intervention."""
        networks, key = self.agent.networks(), f"{owner}.networks={shown(given)}"
        if given is None or given == "paper":
            meant = self._meant(given)
            problems = [networks[name] for name in meant]
            if not of_units or not all(problems):
                return None
            none = "which has no" if len(problems) == 1 else "of which none has"
            stands_for = "all networks" if given is None and len(problems) > 1 else " and ".join(meant)
            return (
                f"{key} stands for {stands_for}, {none} hidden units with "
                f"{', '.join(filter(None, dict.fromkeys(problems)))}; give a hidden layer, such as "
                f"{self.agent.layer_example}, or leave the intervention out"
            )
        for name in given if isinstance(given, list) else ():
            if not isinstance(name, str):
                continue  # refused with the types of all arguments
            if name not in networks:
                belong = f", whose features belong to {' and '.join(networks)}" if name == "features" else ""
                strange = f"{key} names {shortened(name)!r}, which is no network of {self.agent.name}{belong}"
                return f"{strange}; {nearest(name, networks)}"
            if of_units and networks[name] is not None:
                return f"{key} names {name}, which has no hidden units with {networks[name]}; {UNITS[name]}"
        return None

    def switch_problem(self) -> str | None:
        """The sentence that refuses the first thing that cannot be forgotten at switches, None if none is.

        What the config leaves out is not looked at, so ask again once it is filled in.
        """
        return next(self._switch_problems(), None)

    def _switch_problems(self) -> Iterator[str]:
        normalized = self.normalize.used or (self.normalize.obs is None and self.agent.network == "simba")
        for key, value in self.at_switch.changes().items():
            given = f"at_switch.{key}={value}"
            kept = f"give at_switch.{key}={AtSwitchConfig.model_fields[key].default}"
            if key not in self.agent.spec.forgets:
                others = in_words(name for name, spec in known_specs().items() if key in spec.forgets)
                yield f"{given} is a setting of {others}, not of {self.agent.name}; {kept}"
            if self.stream.boundary == "hidden":
                yield (
                    f"{given} acts on task switches, which stream.boundary=hidden hides; "
                    f"give stream.boundary=revealed, or {kept}"
                )
            if key == "normalizer" and not normalized:
                yield f"{given} needs a normalizer; give normalize.obs=true or normalize.reward=true, or {kept}"
            if key == "exploration" and (why := self.agent.spec.unrestartable(self.agent.settings)) is not None:
                yield f"{given} has nothing to restart: {why[0]}; {why[1]}, or {kept}"
            if key == "random_steps" and value >= self.stream.task_steps:
                yield (
                    f"{given} is not below the {self.stream.task_steps} steps of a task, which would be random from "
                    "end to end; lower it or raise stream.steps_per_task"
                )

    def _length_problem(self) -> str | None:
        """The sentence that refuses a stream, or visits of cleared replay, that end before learning begins."""
        if self.agent.spec.data != "replay":
            return None
        settings, steps, total = self.agent.settings, self.stream.task_steps, self.stream.total_steps
        starts = settings["learning_starts"]
        given = f"agent.learning_starts={starts} is not below"
        remedy = "so that nothing would be learnt; lower it or raise stream.steps_per_task"
        if starts >= total:
            return f"{given} the {total} steps of the whole stream, {remedy}"
        clears = self._clears_replay()
        # A full buffer is learnt from, however few transitions it holds.
        if clears is not None and min(starts, settings["buffer_size"]) >= steps:
            return f"{given} the {steps} steps of a task, after which {clears} empties replay, {remedy}"
        return None

    def _clears_replay(self) -> str | None:
        """What empties the replay buffer at task switches, None if nothing does."""
        if self.at_switch.replay == "clear":
            return "at_switch.replay=clear"
        oracles = (i for i, intervention in enumerate(self.interventions) if intervention.name == "oracle")
        return next((f"interventions.{i} (oracle)" for i in oracles), None)

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
