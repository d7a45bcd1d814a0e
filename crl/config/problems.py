"""What a config says that does not go together: sentences that refuse it, or warn of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from agents.at_switch import AtSwitch
from agents.plasticity.registry import INTERVENTIONS
from agents.specs import AGENTS, known_specs
from crl.config.agents import unknown_agent
from crl.config.messages import in_words, nearest, shortened, shown
from crl.config.parts import PARTS

if TYPE_CHECKING:
    from crl.config.schema import RunConfig

HIDDEN = "give it a hidden layer such as [64], or leave it out"
UNITS = {  # network -> how to give it hidden units
    "actor": HIDDEN,
    "critic": HIDDEN,
    "features": "leave it out, or choose nature_cnn, impala or minatar_cnn where the observations are images or boards",
}


def of_names(config: RunConfig) -> str | None:
    """The sentence that refuses the first name that nobody has registered, None if all are known."""
    if config.agent.name not in AGENTS:
        return unknown_agent(config.agent.name)
    for i, intervention in enumerate(config.interventions):
        name = intervention.name
        if name not in INTERVENTIONS:
            key = f"interventions.{i}.name={shown(name)}"
            return f"{key} is not a known intervention; {nearest(name, INTERVENTIONS)}"
    for i, part in enumerate(config.parts):
        if part.name not in PARTS:
            key, imports = f"parts.{i}.name={shown(part.name)}", "give the module that registers it in imports"
            return f"{key} is not a known part; {nearest(part.name, PARTS, imports)}"
    return None


def of_networks(config: RunConfig) -> str | None:
    """The sentence that refuses the first reset of units in a network that has none, None if none is.

    What the config leaves out is not looked at, so ask again once it is filled in.
    """
    for i, intervention in enumerate(config.interventions):
        arguments = intervention.arguments()
        if "networks" in arguments:
            known = INTERVENTIONS.get(intervention.name)
            of_units = known is not None and known.of_units
            problem = _of_networks(config, f"interventions.{i}", arguments["networks"], of_units)
            if problem is not None:
                return problem
    return None


def repetitions(config: RunConfig) -> Iterator[str]:
    """Sentences on interventions that do again, to the same networks, what another one does."""
    known: list[tuple[str, Any, frozenset[str]]] = []
    for i, intervention in enumerate(config.interventions):
        arguments = intervention.arguments()
        acts_on = _meant(config, arguments.get("networks"))
        # The general form is another method with another criterion.
        same = (intervention.name, arguments.get("criterion"))
        for j, (*other, networks) in enumerate(known):
            if (*other,) == same and (both := [name for name in acts_on if name in networks]):
                yield (
                    f"interventions.{i} is {intervention.name} on {in_words(both)}, as interventions.{j} is, so "
                    "that both act there; give them different networks, or leave one out"
                )
        known.append((*same, frozenset(acts_on)))


def _meant(config: RunConfig, given: Any) -> Sequence[str]:
    """The networks that an intervention's argument stands for."""
    if given == "paper":
        return config.agent.spec.paper_networks
    return tuple(config.agent.networks()) if given is None else given


def _of_networks(config: RunConfig, owner: str, given: Any, of_units: bool) -> str | None:
    """The sentence that refuses `given` as the networks of an intervention."""
    networks, key = config.agent.networks(), f"{owner}.networks={shown(given)}"
    if given is None or given == "paper":
        meant = _meant(config, given)
        problems = [networks[name] for name in meant]
        if not of_units or not all(problems):
            return None
        none = "which has no" if len(problems) == 1 else "of which none has"
        stands_for = "all networks" if given is None and len(problems) > 1 else " and ".join(meant)
        return (
            f"{key} stands for {stands_for}, {none} hidden units with "
            f"{', '.join(filter(None, dict.fromkeys(problems)))}; give a hidden layer, such as "
            f"{config.agent.layer_example}, or leave the intervention out"
        )
    for name in given if isinstance(given, list) else ():
        if not isinstance(name, str):
            continue  # refused with the types of all arguments
        if name not in networks:
            belong = f", whose features belong to {' and '.join(networks)}" if name == "features" else ""
            strange = f"{key} names {shortened(name)!r}, which is no network of {config.agent.name}{belong}"
            return f"{strange}; {nearest(name, networks)}"
        if of_units and networks[name] is not None:
            return f"{key} names {name}, which has no hidden units with {networks[name]}; {UNITS[name]}"
    return None


def of_switches(config: RunConfig) -> str | None:
    """The sentence that refuses the first thing that cannot be forgotten at switches, None if none is.

    What the config leaves out is not looked at, so ask again once it is filled in.
    """
    return next(_of_switches(config), None)


def _of_switches(config: RunConfig) -> Iterator[str]:
    defaults = {field.name: field.default for field in fields(AtSwitch)}
    normalized = config.normalize.used or (config.normalize.obs is None and config.agent.network == "simba")
    for key, value in config.at_switch.changes().items():
        given = f"at_switch.{key}={value}"
        kept = f"give at_switch.{key}={defaults[key]}"
        if key not in config.agent.spec.forgets:
            others = in_words(name for name, spec in known_specs().items() if key in spec.forgets)
            yield f"{given} is a setting of {others}, not of {config.agent.name}; {kept}"
        if config.stream.boundary == "hidden":
            yield (
                f"{given} acts on task switches, which stream.boundary=hidden hides; "
                f"give stream.boundary=revealed, or {kept}"
            )
        if key == "normalizer" and not normalized:
            yield f"{given} needs a normalizer; give normalize.obs=true or normalize.reward=true, or {kept}"
        if key == "exploration" and (why := config.agent.spec.unrestartable(config.agent.settings)) is not None:
            yield f"{given} has nothing to restart: {why[0]}; {why[1]}, or {kept}"
        if key == "random_steps" and value >= config.stream.task_steps:
            yield (
                f"{given} is not below the {config.stream.task_steps} steps of a task, which would be random from "
                "end to end; lower it or raise stream.steps_per_task"
            )


def of_length(config: RunConfig) -> str | None:
    """The sentence that refuses a stream, or visits of cleared replay, that end before learning begins."""
    if config.agent.spec.data != "replay":
        return None
    settings, steps, total = config.agent.settings, config.stream.task_steps, config.stream.total_steps
    starts = settings["learning_starts"]
    given = f"agent.learning_starts={starts} is not below"
    remedy = "so that nothing would be learnt; lower it or raise stream.steps_per_task"
    if starts >= total:
        return f"{given} the {total} steps of the whole stream, {remedy}"
    clears = _clears_replay(config)
    # A full buffer is learnt from, however few transitions it holds.
    if clears is not None and min(starts, settings["buffer_size"]) >= steps:
        return f"{given} the {steps} steps of a task, after which {clears} empties replay, {remedy}"
    return None


def _clears_replay(config: RunConfig) -> str | None:
    """What empties the replay buffer at task switches, None if nothing does."""
    if config.at_switch.replay == "clear":
        return "at_switch.replay=clear"
    oracles = (i for i, intervention in enumerate(config.interventions) if intervention.name == "oracle")
    return next((f"interventions.{i} (oracle)" for i in oracles), None)
