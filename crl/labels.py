"""What runs are called beside one another: by what differs between them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from crl.config.messages import printable, shortened

# Keys, with what is under them, that say where a run is, how it is saved and which of its kind it is.
PASSED_OVER = ("seed", "runs", "device", "threads", "checkpoint", "stream.seed", "stream.label")
SHOWN = 3  # differences in a label


def labels(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A label for each run; runs that differ in nothing but their seeds have one together, unless all are such."""
    found = group_labels(configs)
    if len({*found}) > 1:
        return found
    seeds = [f"seed {_text(config.get('seed'))}" for config in configs]
    return seeds if len(configs) > 1 else [f"{found[0]}, {seeds[0]}"]


def group_labels(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A label for each run; runs that differ in nothing but their seeds have one together."""
    found = [settings_of(config) for config in configs]
    differing = differing_keys(found)
    if not differing:
        return [_label(settings, ["agent", "method"]) for settings in found]
    known: dict[str, list[Mapping[str, str]]] = {}  # label -> the settings that it stands for, where it is cut short
    named = [_label(each, differing) or _label(each, ["agent", "method"]) for each in found]
    return [
        _numbered(label, {key: each.get(key, "") for key in differing}, known)
        for label, each in zip(named, found, strict=True)
    ]


def short_labels(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A label for each run, its method, by what else it differs from the others of that method.

    It is for where all differences are shown elsewhere.
    """
    found = [settings_of(config) for config in configs]
    agents = {each["agent"] for each in found}
    families: dict[str, list[Mapping[str, str]]] = {}
    names = [_label(each, ["agent", "method"] if len(agents) > 1 else ["method"]) for each in found]
    for name, settings in zip(names, found, strict=True):
        families.setdefault(name, []).append(settings)
    differing = {name: differing_keys(of) for name, of in families.items()}
    more = [_label(each, differing[name]) for name, each in zip(names, found, strict=True)]
    return [f"{name}, {rest}" if rest else name for name, rest in zip(names, more, strict=True)]


def _numbered(label: str, settings: Mapping[str, str], known: dict[str, list[Mapping[str, str]]]) -> str:
    same = known.setdefault(label, [])
    if settings not in same:
        same.append(settings)
    number = same.index(settings) + 1
    return label if number == 1 else f"{label} ({number})"


def _label(settings: Mapping[str, str], keys: Sequence[str]) -> str:
    words = [
        settings[key] if key in ("agent", "method") else f"{key}={settings[key]}" for key in keys if key in settings
    ]
    more = ", ..." if len(words) > SHOWN else ""
    return shortened(printable(", ".join(words[:SHOWN]))) + more


def differing_keys(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """Keys that two runs have with different values. What only some have belongs to an agent or a method of theirs."""
    values: dict[str, set[str]] = {}
    for each in settings:
        for key, value in each.items():
            values.setdefault(key, set()).add(value)
    return [key for key, found in values.items() if len(found) > 1]


def settings_of(config: Mapping[str, Any], passed_over: Collection[str] = PASSED_OVER) -> dict[str, str]:
    """Key -> value as text; the interventions' keys begin with their names.

    Args:
        config: of a run.
        passed_over: keys that are left out, with what is under them.
    """
    agent, interventions = config.get("agent"), config.get("interventions")
    named = [each for each in interventions if isinstance(each, Mapping)] if isinstance(interventions, list) else []
    found = {
        "agent": _text(agent.get("name")) if isinstance(agent, Mapping) else "",
        "method": " + ".join(_text(each.get("name")) for each in named) or "plain",
    }
    rest = {key: value for key, value in config.items() if key != "interventions"}
    for each in named:
        name = _text(each.get("name"))
        numbered = (f"{name}_{number}" for number in itertools.count(2))  # as their logs call them
        key = next(key for key in itertools.chain([name], numbered) if key not in rest)
        rest[key] = {argument: value for argument, value in each.items() if argument != "name"}
    return found | {key: text for key, text in _flat(rest, passed_over) if key != "agent.name"}


def _flat(config: Mapping[str, Any], passed_over: Collection[str], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        key = f"{prefix}{name}"
        if key in passed_over:
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, passed_over, f"{key}.")
        else:
            yield key, _text(value)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
