"""The lists: a line or more for each name."""

from __future__ import annotations

import itertools
import string
import textwrap
from collections.abc import Iterable, Sequence

from agents.optimizers import OptimizerSpec
from agents.plasticity.registry import Entry, interventions_by_group
from agents.specs import AgentSpec
from crl.config.docstrings import docstring_of
from crl.config.imports import import_module
from crl.config.keys import keys_of
from crl.config.messages import in_words, shown
from crl.config.schema import RunConfig
from crl.listing.kinds import OF_SPACES, REGISTRIES, Kind
from envs.catalogue import STREAMS, TASKS, NamedStream

SHOWN_TASKS = 6  # of a stream; the tasks of a longer one are numbered
WIDTH = 100  # characters of a line of a page


def listed(kind: Kind) -> dict[str, str]:
    """Name -> what it is, of streams in several lines."""
    if kind is Kind.tasks:
        others = "a registered Gymnasium id, with its arguments; rebuilt, or restored where it has get_state"
        return _tasks() | {"ID-v0": others}
    if kind is Kind.interventions:
        return interventions_by_group()
    if kind is Kind.streams:
        return _streams(STREAMS)
    return {name: summary_of(kind, name) for name in REGISTRIES[kind]}


def suite(name: str, of: Kind | None = None) -> dict[Kind, dict[str, str]]:
    """The names below one (``atari/pong``), as `listed`, of all lists that have such or of one list."""
    found = {}
    for kind, registry in REGISTRIES.items():
        names = [each for each in registry if each.startswith(f"{name}/")]
        if names and of in (None, kind):
            found[kind] = _streams(names) if kind is Kind.streams else {each: summary_of(kind, each) for each in names}
    return found


def _tasks() -> dict[str, str]:
    """The tasks, those of a suite (``atari/pong``) together."""
    suites: dict[str, list[str]] = {}
    for name in TASKS:
        suites.setdefault(name.partition("/")[0], []).append(name)
    found = {}
    for suite, names in suites.items():
        alone = names == [suite]
        others = [] if alone else wrapped(", ".join(name.partition("/")[2] for name in names), "")
        found[suite if alone else f"{suite}/..."] = "\n".join([summary_of(Kind.tasks, names[0]), *others])
    return found


def _streams(names: Iterable[str]) -> dict[str, str]:
    """Streams, those of a family (``fame/minatar0`` and on, one sequence each) together."""

    def family(name: str) -> tuple[str, ...]:
        return name.rstrip(string.digits), STREAMS[name].description, STREAMS[name].source

    found = {}
    for _, members in itertools.groupby(names, family):
        first, *others = members
        stream = STREAMS[first]
        tasks = f"{len(stream.tasks)} in another order each" if others else shortened(stream.tasks)
        found[f"{first} to {others[-1]}" if others else first] = of_stream(stream, tasks)
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


def summary_of(kind: Kind, name: str) -> str:
    found = REGISTRIES[kind][name]
    if kind is Kind.streams:
        return of_stream(found, shortened(found.tasks))
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


def of_stream(stream: NamedStream, tasks: str) -> str:
    """Tasks, steps and source of a stream, and what becomes of its games at a checkpoint."""
    cycles = "" if stream.cycles == 1 else f", {stream.cycles} cycles"
    spaces = "".join(f"{key} {how}; " for key, how in (stream.spaces or {}).items())
    return (
        f"{stream.description}\n"
        f"tasks: {tasks}; {stream.steps_per_task:,} steps each{cycles}; {spaces}"
        f"games are {_kept(stream.restores)} at a resume\n"
        f"source: {stream.source}"
    )


def shortened(tasks: Sequence[str]) -> str:
    return ", ".join(tasks) if len(tasks) <= SHOWN_TASKS else f"{len(tasks):,}, {tasks[0]} to {tasks[-1]}"


def wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
