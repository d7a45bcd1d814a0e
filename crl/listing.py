"""What `crl list` shows: the names that a config can give, a line or more each, and a page on one of them."""

from __future__ import annotations

import inspect
import itertools
import json
import re
import string
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import yaml

from agents.optimizers import ADAM, OPTIMIZERS, OptimizerSpec
from agents.plasticity.registry import CRITERIA, INTERVENTIONS, SELECTIONS, Entry, interventions_by_group, resolve
from agents.specs import AGENTS, AgentSpec, agent_spec
from crl.config.agents import agent_section
from crl.config.constructors import arguments_of
from crl.config.docstrings import docstring_of, papers
from crl.config.fields import SCHEDULES, Model
from crl.config.imports import import_module
from crl.config.keys import Key, json_schema, keys_of
from crl.config.messages import ConfigError, close_to, in_words, nearest, shown
from crl.config.optimizers import optimizer_section
from crl.config.parts import PARTS
from crl.config.schema import RunConfig
from crl.config.stream import SpacesConfig
from envs.catalogue import ACTIONS, DRIFTS, OBSERVATIONS, SHIFTS, SPACES, STREAMS, TASKS, WHOLE, NamedStream

SHOWN_TASKS = 6  # of a stream; the tasks of a longer one are numbered
WIDTH = 100  # characters of a line of a page

OF_WORLDS = {
    "offset": "numbers that are added to every observation; null for none",
    "episode_limit": "steps after which an unfinished episode is truncated",
    "reward_scale": "factor on rewards; returns are reported without it",
}
"""Argument that several worlds have -> what it means."""

TYPES = {
    "ArrayLike": "number or [number, ...]",
    "Sequence[int]": "[whole number, ...]",
    "None": "null",
    "NoneType": "null",
    "bool": "true or false",
    "float": "number",
    "int": "whole number",
    "str": "text",
}
"""A type of Python -> how a user would say it."""

VALUES: Mapping[str, Any] = {
    "amplitude": 8.0,
    "criterion": "gxd",
    "end": 2.0,
    "high": 15.0,
    "low": 5.0,
    "mean": 10.0,
    "offset": 0.5,
    "period": 50_000,
    "probability": 0.25,
    "rate": 1e-4,
    "scale": 0.5,
    "selection": {"name": "percentage", "share": 0.02},
    "share": 0.02,
    "size": [84, 84],
    "skip": 2,
    "start": 10.0,
    "std": 0.1,
    "steps": 100_000,
    "tau": 0.025,
}
"""Argument that has to be given -> what examples give."""


class Kind(StrEnum):
    """What is listed."""

    streams = "streams"
    tasks = "tasks"
    shifts = "shifts"
    drifts = "drifts"
    spaces = "spaces"
    agents = "agents"
    optimizers = "optimizers"
    schedules = "schedules"
    criteria = "criteria"
    selections = "selections"
    interventions = "interventions"
    parts = "parts"


OF_SPACES = {"observations": OBSERVATIONS, "actions": ACTIONS}
"""Key of stream.spaces -> what it may be."""

ONE_OF = {Kind.criteria: "criterion"} | {kind: kind.value.removesuffix("s") for kind in Kind if kind != Kind.criteria}
"""What one of a kind is called."""

REGISTRIES: Mapping[Kind, Mapping[str, Any]] = {
    Kind.streams: STREAMS,
    Kind.tasks: TASKS,
    Kind.shifts: SHIFTS,
    Kind.drifts: DRIFTS,
    Kind.spaces: SPACES,
    Kind.agents: AGENTS,
    Kind.optimizers: OPTIMIZERS,
    Kind.schedules: SCHEDULES,
    Kind.criteria: CRITERIA,
    Kind.selections: SELECTIONS,
    Kind.interventions: INTERVENTIONS,
    Kind.parts: PARTS,
}

# ------------------------------------------------------------------ lists


def listed(kind: Kind) -> dict[str, str]:
    """Name -> what it is, of streams in several lines."""
    if kind is Kind.tasks:
        others = "a registered Gymnasium id, with its arguments; rebuilt, or restored where it has get_state"
        return _tasks() | {"ID-v0": others}
    if kind is Kind.interventions:
        return interventions_by_group()
    if kind is Kind.streams:
        return _streams()
    return {name: _summary(kind, name) for name in REGISTRIES[kind]}


def _tasks() -> dict[str, str]:
    """The tasks, those of a suite (``atari/pong``) together."""
    suites: dict[str, list[str]] = {}
    for name in TASKS:
        suites.setdefault(name.partition("/")[0], []).append(name)
    found = {}
    for suite, names in suites.items():
        alone = names == [suite]
        others = [] if alone else _wrapped(", ".join(name.partition("/")[2] for name in names), "")
        found[suite if alone else f"{suite}/..."] = "\n".join([_summary(Kind.tasks, names[0]), *others])
    return found


def _streams() -> dict[str, str]:
    """The streams, those of a family (``fame/minatar0`` and on, one sequence each) together."""

    def family(name: str) -> tuple[str, ...]:
        return name.rstrip(string.digits), STREAMS[name].description, STREAMS[name].source

    found = {}
    for _, members in itertools.groupby(STREAMS, family):
        names = [*members]
        stream = STREAMS[names[0]]
        alone = len(names) == 1
        tasks = _shortened(stream.tasks) if alone else f"{len(stream.tasks)} in another order each"
        found[names[0] if alone else f"{names[0]} to {names[-1]}"] = _of_stream(stream, tasks)
    return found


def registered_by(modules: Sequence[str]) -> dict[str, str]:
    """Import modules of the user's, which register what they bring; the worlds that Gymnasium has of them, as `listed`.

    Raises:
        ConfigError: one cannot be imported.
    """
    if not modules:
        return {}
    import gymnasium  # which registers its own

    found: dict[str, str] = {}
    for module in modules:
        known = {*gymnasium.registry}
        import_module(module, f"--imports {shown(module)}")
        new = [id for id in gymnasium.registry if id not in known]
        found |= {f"{module}:{id}": f"registered by {module}; in a config that imports it also {id}" for id in new}
    return found


def _summary(kind: Kind, name: str) -> str:
    found = REGISTRIES[kind][name]
    if kind is Kind.streams:
        return _of_stream(found, _shortened(found.tasks))
    if kind is Kind.tasks:
        arguments = f"arguments: {', '.join(found.resolve().arguments)}"
        return f"{found.description}; {arguments}; {_kept(found.restores)}"
    if kind is Kind.spaces:
        of = [key for key, names in OF_SPACES.items() if name in names]
        return f"{found.description}; stream.spaces.{' and '.join(of)}"
    if kind in (Kind.shifts, Kind.drifts):
        return f"{found.description}; arguments: {', '.join(found.arguments)}"
    if kind is Kind.schedules:
        return f"{_first(docstring_of(found).text)}; {{{name}: [1e-3, 0]}} of {_that_take_schedules()}"
    if kind is Kind.optimizers:
        return _of_optimizer(found)
    entry: AgentSpec | Entry = found
    return entry.summary


def _of_optimizer(found: OptimizerSpec) -> str:
    return "; ".join(filter(None, [found.summary, found.paper, f"costs {found.cost}" if found.cost else ""]))


def _first(text: str) -> str:
    return text.partition("\n")[0].removesuffix(".")


def _that_take_schedules() -> str:
    """The settings of agents that may change over the run."""
    keys = [key for key in keys_of(RunConfig.model_json_schema()) if "{linear:" in key.type]
    return in_words(dict.fromkeys(key.name for key in keys))


def _kept(restores: bool) -> str:
    return "restored" if restores else "rebuilt"


def _of_stream(stream: NamedStream, tasks: str) -> str:
    """Tasks, steps and source of a stream, and what becomes of its games at a checkpoint."""
    cycles = "" if stream.cycles == 1 else f", {stream.cycles} cycles"
    spaces = "".join(f"{key} {how}; " for key, how in (stream.spaces or {}).items())
    return (
        f"{stream.description}\n"
        f"tasks: {tasks}; {stream.steps_per_task:,} steps each{cycles}; {spaces}"
        f"games are {_kept(stream.restores)} at a resume\n"
        f"source: {stream.source}"
    )


def _shortened(tasks: Sequence[str]) -> str:
    return ", ".join(tasks) if len(tasks) <= SHOWN_TASKS else f"{len(tasks):,}, {tasks[0]} to {tasks[-1]}"


# ------------------------------------------------------------------ pages


class Page(NamedTuple):
    """All about one name.

    Attributes:
        title: the name, and of which kind it is.
        text: what it is, a line for each paragraph.
        keys: its arguments.
        papers: where it comes from.
        example: a part of a config.
    """

    title: str
    text: str
    keys: list[Key]
    papers: list[str]
    example: dict[str, Any]

    @property
    def lines(self) -> Iterator[str]:
        """As it is printed."""
        yield self.title
        for paragraph in self.text.splitlines():
            yield from _wrapped(paragraph, "  ")
        if self.keys:
            yield "  arguments:"
        for key in self.keys:
            default = "required" if key.default is None else f"default {key.default}"
            yield f"    {key.name}: {key.type}, {default}"
            yield from _wrapped(key.meaning, "      ")
        for paper in self.papers:
            yield f"  paper: {paper}"
        yield "  example:"
        yield textwrap.indent(
            yaml.safe_dump(self.example, sort_keys=False, default_flow_style=None, width=WIDTH), "    "
        )


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def pages(name: str, of: Kind | None = None) -> list[Page]:
    """The pages on a name: one for each kind of thing that is called so, or of one kind. Imports their code.

    Raises:
        ConfigError: nothing is called so, or its code cannot be used.
    """
    registries = {kind: registry for kind, registry in REGISTRIES.items() if of in (None, kind)}
    found = [_page(kind, name) for kind, registry in registries.items() if name in registry]
    if not found and of in (None, Kind.tasks) and re.search(r"-v\d+$", name):
        found = _of_gymnasium(name)
    if not found and of is not None:
        raise ConfigError(f"{shown(name)} is not one of the {of}; {nearest(name, REGISTRIES[of])}")
    if not found:
        near = close_to(name, [*map(str, Kind), *(known for registry in REGISTRIES.values() for known in registry)])
        remedy = nearest(name, Kind) if near is None else f"did you mean {near!r}?"
        if near is None and re.search(r"-v\d+$", name):
            remedy = "give the module that registers it with --imports"
        raise ConfigError(f"{shown(name)} is neither a list nor a name in one; {remedy}")
    return found


def _page(kind: Kind, name: str) -> Page:
    text, keys, sources = _about(kind, name)
    return Page(f"{name} ({ONE_OF[kind]})", text, keys, papers(sources), _example(kind, name, keys))


def _of_gymnasium(name: str) -> list[Page]:
    """The page on an id of Gymnasium's, none where nobody has registered it."""
    import gymnasium

    id = name.rpartition(":")[2]
    if id not in gymnasium.registry:
        return []
    entry = gymnasium.registry[id].entry_point
    code: Any = gymnasium.envs.registration.load_env_creator(entry) if isinstance(entry, str) else entry
    parameters = inspect.signature(code).parameters.values()
    named = [each.name for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    text, keys, _ = _documented(code, [each for each in named if each != "render_mode"])
    example = {"stream": {"tasks": [name], "steps_per_task": 100_000}}
    first = next((line for line in text.splitlines() if not line.startswith("#")), "")
    return [Page(f"{name} (task)", first, keys, papers(text), example)]


def _about(kind: Kind, name: str) -> tuple[str, list[Key], str]:
    """What a page says: its text, its arguments, and where papers are named."""
    found = REGISTRIES[kind][name]
    if kind is Kind.streams:
        text = _of_stream(found, _shortened(found.tasks))
        differs = [f"differs from the original: {found.differs}"] if found.differs else []
        file, *changes = (found.config or "").split()
        with_it = f"settings of an agent: configs/{file} with {' '.join([f'stream.name={name}', *changes])}"
        return "\n".join([text, *differs, with_it] if file else [text, *differs]), [], text
    if kind is Kind.tasks:
        world = found.resolve()
        about = docstring_of(world.env).text if isinstance(getattr(world, "env", None), type) else ""
        named = getattr(world, "action_meanings", ())
        told = [found.description, f"actions: {', '.join(named)}" if named else "", about]
        return "\n".join(filter(None, told)), _of_world(world), found.description
    if kind is Kind.spaces:
        keys = keys_of(SpacesConfig.model_json_schema())
        return _summary(kind, name), [key for key in keys if key.name in found.arguments], ""
    if kind is Kind.schedules:
        meanings = docstring_of(found).meanings
        keys = [key._replace(meaning=meanings[key.name]) for key in keys_of(found.model_json_schema())]
        return _summary(kind, name), keys, ""
    if kind is Kind.agents:
        code = agent_spec(name).resolve()
        keys = _owned(keys_of(RunConfig.model_json_schema()), "agent.", name, agent_section(name))
        return docstring_of(code).text, keys, f"{sys.modules[code.__module__].__doc__}"
    if kind is Kind.optimizers:
        ours = not found.target.startswith("torch.")
        text = docstring_of(resolve(found.target)).text if ours else found.summary
        keys = _owned(keys_of(RunConfig.model_json_schema()), "agent.optimizer.", name, optimizer_section(name))
        return text, keys, text if ours else found.paper
    if kind is Kind.shifts:
        from envs.shifts import SHIFTS as CODE

        text, keys, _ = _documented(CODE[name], found.arguments)
        drawn = [key._replace(default="drawn for each task") if key.name == found.drawn else key for key in keys]
        return text, drawn, text
    if kind is Kind.drifts:
        from envs.drift import KINDS

        return _documented(KINDS[name], found.arguments)
    place = {Kind.criteria: "interventions.N.criterion.", Kind.selections: "interventions.N.selection."}
    section = arguments_of(found, name)
    keys = _owned(keys_of(json_schema()), place.get(kind, f"{kind.value}.N."), name, section)
    text = docstring_of(found.resolve()).text
    return text or found.summary, keys, text


def _owned(keys: Sequence[Key], prefix: str, name: str, section: type[Model]) -> list[Key]:
    """The keys below a prefix that something has, in its order; what has a name of its own has a page of its own."""
    found = (key for key in keys if key.name.startswith(prefix) and (not key.of or name in key.of))
    below = [key._replace(name=key.name.removeprefix(prefix)) for key in found]
    shown_here = [key for key in below if key.name != "name" and not key.name.startswith(("criterion.", "selection."))]
    order = [*section.model_fields]
    return sorted(shown_here, key=lambda key: order.index(key.name.partition(".")[0]))


def _documented(code: Any, arguments: Sequence[str]) -> tuple[str, list[Key], str]:
    """As `_about`, of a class with these arguments."""
    text, meanings = docstring_of(code)
    parameters = inspect.signature(code).parameters
    keys = []
    for name in arguments:
        kind, default = parameters[name].annotation, parameters[name].default
        required = default is inspect.Parameter.empty
        keys.append(Key(name, (), _in_words(kind), None if required else shown(default), meanings.get(name, "")))
    return text, keys, text


def _in_words(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return "anything"
    written = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return " or ".join(TYPES.get(each, each) for each in written.split(" | "))


def _of_world(world: Any) -> list[Key]:
    """The arguments of one of our worlds."""
    from envs.minatar.parameters import Parameters as MinAtarParameters

    quantities = getattr(world, "physics", {})
    documented = docstring_of(getattr(world, "env", MinAtarParameters)).meanings
    found = []
    for name, default in world.arguments.items():
        kind = f"{'whole ' if name in WHOLE else ''}number or null" if default is None else _in_words(type(default))
        meaning = documented.get(name) or OF_WORLDS.get(name)
        if meaning is None:
            meaning = quantities[name].remedy.removeprefix("give ")
        found.append(Key(name, (), kind, shown(default), meaning))
    return found


# ------------------------------------------------------------------ examples


def _example(kind: Kind, name: str, keys: Sequence[Key]) -> dict[str, Any]:
    """A part of a config that has it."""
    needed = {key.name: VALUES.get(key.name, "...") for key in keys if key.default is None and "." not in key.name}
    if kind is Kind.streams:
        return {"stream": {"name": name}}
    if kind is Kind.spaces:
        key = next(key for key, names in OF_SPACES.items() if name in names)
        size = {each.name: VALUES[each.name] for each in keys}
        return {"stream": {"spaces": {key: name, **size}}}
    if kind in (Kind.tasks, Kind.shifts, Kind.drifts):
        return {"stream": {"tasks": [_task(kind, name, keys, needed)], "steps_per_task": 100_000}}
    if kind is Kind.agents:
        return {"agent": {"name": name, "n_envs": 8, "learning_rate": 3e-4}}
    if kind is Kind.schedules:
        return {"agent": {"learning_rate": {name: [1e-3, 0]}}}
    if kind is Kind.optimizers:
        return {"agent": {"optimizer": name if name == ADAM else {"name": name, **_telling(keys)}}}
    if kind is Kind.parts:
        return {"parts": [{"name": name, **needed}]}
    if kind is Kind.interventions:
        boundary = {"stream": {"boundary": "revealed"}}
        given = needed or _telling(keys)
        code = INTERVENTIONS[name].resolve()
        uses = "..." not in needed.values() and code(**given).uses_boundaries
        return {**(boundary if uses else {}), "interventions": [{"name": name, **given}]}
    named = {"name": name, **needed} if needed else name
    parts = {"criterion": VALUES["criterion"], "selection": VALUES["selection"], ONE_OF[kind]: named}
    return {"interventions": [{"name": "reset", **parts}]}


def _telling(keys: Sequence[Key]) -> dict[str, Any]:
    """The argument whose default an example shows: it is what is set first."""
    found = (key for key in keys if key.default not in (None, "null", "false") and "." not in key.name)
    return {key.name: json.loads(str(key.default)) for key in itertools.islice(found, 1)}


def _task(kind: Kind, name: str, keys: Sequence[Key], needed: Mapping[str, Any]) -> dict[str, Any]:
    if kind is Kind.shifts:
        board = name in ("pixel_permutation", "action_permutation")
        return {"id": "breakout" if board else "pendulum", "shifts": [{"name": name, **needed} if needed else name]}
    if kind is Kind.drifts:
        return {"id": "pendulum", "drift": {"gravity": {"kind": name, **needed}}}
    first = next(key for key in keys if key.default not in (None, "null"))
    return {"id": name, first.name: json.loads(str(first.default))}
