"""A page on one name: what it is, its arguments, where it comes from and an example."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import yaml

from agents.plasticity.registry import resolve
from agents.specs import agent_spec
from crl.config.agents import agent_section
from crl.config.constructors import arguments_of
from crl.config.docstrings import docstring_of, papers
from crl.config.fields import Model
from crl.config.keys import Key, json_schema, keys_of
from crl.config.messages import ConfigError, close_to, nearest, shown
from crl.config.optimizers import optimizer_section
from crl.config.schema import RunConfig
from crl.config.stream import SpacesConfig
from crl.listing.examples import example
from crl.listing.kinds import ONE_OF, REGISTRIES, Kind
from crl.listing.lists import WIDTH, of_stream, shortened, summary_of, wrapped
from envs.catalogue import WHOLE

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
            yield from wrapped(paragraph, "  ")
        if self.keys:
            yield "  arguments:"
        for key in self.keys:
            default = "required" if key.default is None else f"default {key.default}"
            yield f"    {key.name}: {key.type}, {default}"
            yield from wrapped(key.meaning, "      ")
        for paper in self.papers:
            yield f"  paper: {paper}"
        yield "  example:"
        yield textwrap.indent(
            yaml.safe_dump(self.example, sort_keys=False, default_flow_style=None, width=WIDTH), "    "
        )


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
    return Page(f"{name} ({ONE_OF[kind]})", text, keys, papers(sources), example(kind, name, keys))


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
        text = of_stream(found, shortened(found.tasks))
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
        return summary_of(kind, name), [key for key in keys if key.name in found.arguments], ""
    if kind is Kind.schedules:
        meanings = docstring_of(found).meanings
        keys = [key._replace(meaning=meanings[key.name]) for key in keys_of(found.model_json_schema())]
        return summary_of(kind, name), keys, ""
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
