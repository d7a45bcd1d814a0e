"""The keys that a config may have, with type, default and meaning: as a JSON schema, and as lines of text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic.json_schema import models_json_schema

from agents.plasticity.registry import COMPONENTS, INTERVENTIONS, Entry
from crl.config.constructors import arguments_of
from crl.config.fields import MAX_WHOLE
from crl.config.messages import shown
from crl.config.parts import PARTS
from crl.config.schema import RunConfig

SENTENCE = r"(?<=[^.])\. "
TYPES = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "null": "null",
    "object": "mapping",
}
"""A type of JSON schema -> how a user would say it."""


class Key(NamedTuple):
    """A key of a config.

    Attributes:
        name: from the top, ``N`` where an index of a list stands.
        of: the agents, interventions, ... that have it; empty where all do.
        type: what may be given.
        default: None where it must be given.
        meaning: what it is.
    """

    name: str
    of: tuple[str, ...]
    type: str
    default: str | None
    meaning: str

    @property
    def line(self) -> str:
        """What it may be, its default, and the first sentence of what it means."""
        default = "required" if self.default is None else f"default {self.default}"
        return f"{self.type}, {default}: {re.split(SENTENCE, self.meaning)[0].removesuffix('.')}"


# ------------------------------------------------------------------ JSON schema


def json_schema() -> dict[str, Any]:
    """The JSON schema of configs, with the arguments of all that can be named in them, whose classes it imports."""
    found = RunConfig.model_json_schema()
    properties, definitions = found["properties"], found["$defs"]
    components = {kind: _of_any(entries, definitions) for kind, entries in COMPONENTS.items()}
    for key, entries in (("interventions", INTERVENTIONS), ("parts", PARTS)):
        items = _of_any(entries, definitions)
        properties[key]["items"] = items
        for section in items["anyOf"]:
            for kind in components.keys() & section.get("properties", {}).keys():
                section["properties"][kind] = {**components[kind], **_about(section["properties"][kind])}
    return found


def _of_any(entries: Mapping[str, Entry], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of what a registry knows: a name alone, or a mapping of it and the arguments.

    Args:
        entries: of the registry.
        definitions: of the whole schema; those of the arguments are added.
    """
    sections = {name: arguments_of(entry, name) for name, entry in entries.items()}
    references, shared = models_json_schema([(section, "validation") for section in sections.values()])
    inner = shared.get("$defs", {})
    variants = []
    for name, section in sections.items():
        written = inner[references[section, "validation"]["$ref"].rpartition("/")[2]]
        written["properties"] = {"name": {"const": name, **_about(written["properties"]["name"])}} | {
            key: value for key, value in written["properties"].items() if key != "name"
        }
        variants.append(written)
    definitions |= {name: each for name, each in inner.items() if all(each is not written for written in variants)}
    # Names that a module of imports registers are not known here.
    others = {"type": "object", "properties": {"name": {"type": "string", "not": {"enum": [*entries]}}}}
    return {"anyOf": [{"type": "string", "examples": [*entries]}, *variants, others]}


def _about(node: Mapping[str, Any]) -> dict[str, Any]:
    return {key: node[key] for key in ("default", "description") if key in node}


# ------------------------------------------------------------------ keys


def keys_of(schema: Mapping[str, Any], prefix: str = "") -> list[Key]:
    """The keys that a schema allows.

    Args:
        schema: of an object, with its definitions.
        prefix: what stands before its keys.
    """
    return list(_keys(schema, prefix, schema.get("$defs", {})))


def _keys(node: Mapping[str, Any], prefix: str, definitions: Mapping[str, Any]) -> Iterator[Key]:
    required = node.get("required", ())
    for name, given in node.get("properties", {}).items():
        value = _resolved(given, definitions)
        key, listed = f"{prefix}{name}", "items" in value
        variants = _variants(value.get("items", value), definitions)
        section = variants and isinstance(value.get("default", {}), dict) and not _may_stand_alone(value)
        if listed or not section:
            default = None if name in required else shown(value.get("default"))
            yield Key(key, (), in_type(given, definitions), default, value.get("description", ""))
        inner = f"{key}.N." if listed else f"{key}."
        if any(variants):
            yield Key(f"{inner}name", (), " or ".join(variants), None, "which one; crl list NAME shows each")
        yield from _merged({of: [*_keys(each, inner, definitions)] for of, each in variants.items()})


def _variants(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The mappings that a value may be: by their names, without these, or one that has none.

    A setting that is a number or a mapping counts as a number.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for choice in node.get("oneOf", node.get("anyOf", [node])):
        each = _resolved(choice, definitions)
        properties = dict(each.get("properties", {}))
        name = properties.get("name", {}).get("const", "")
        if name:
            del properties["name"]
        if name or len(properties) > 1:
            found[name] = {**each, "properties": properties}
    return found


def _may_stand_alone(node: Mapping[str, Any]) -> bool:
    """Whether a name may stand for a mapping."""
    return any("examples" in choice for choice in node.get("anyOf", ()))


def _merged(keys: Mapping[str, Iterable[Key]]) -> Iterator[Key]:
    """The keys of several variants, those that are the same in some of them once."""
    owners: dict[Key, list[str]] = {}
    for of, found in keys.items():
        for key in found:
            owners.setdefault(key, []).append(of)
    for key, names in owners.items():
        yield key if len(names) == len(keys) else key._replace(of=key.of or tuple(names))


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """A node with what it refers to, itself or its only variant beside null."""
    others = [each for each in node.get("anyOf", ()) if each.get("type") != "null"]
    if "$ref" not in node and len(others) != 1:
        return node
    given = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
    target = others[0] if others else node
    reference = target.get("$ref")
    return {**(target if reference is None else definitions[reference.rpartition("/")[2]]), **given}


def in_type(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What a schema allows, as a user would say it."""
    if "$ref" in node:
        node = _resolved(node, definitions)
    if _may_stand_alone(node):
        return "name or mapping"
    choices = node.get("anyOf") or node.get("oneOf")
    if choices:
        return " or ".join(in_type(choice, definitions) for choice in choices)
    if "enum" in node or "const" in node:
        return " or ".join(map(str, node.get("enum", [node.get("const")])))
    if node.get("type") == "array":
        pair = [in_type(item, definitions) for item in node.get("prefixItems", ())]
        return f"[{', '.join(pair) or in_type(node.get('items', {}), definitions) + ', ...'}]"
    properties = node.get("properties", {})
    if len(properties) == 1:
        return "".join(f"{{{key}: {in_type(value, definitions)}}}" for key, value in properties.items())
    return f"{TYPES.get(str(node.get('type')), 'anything')}{_range(node)}"


def _range(node: Mapping[str, Any]) -> str:
    """The bounds of a number."""
    least, above, most = node.get("minimum"), node.get("exclusiveMinimum"), node.get("maximum")
    most = None if most == MAX_WHOLE else most
    if least is not None:
        return f" of at least {least}" if most is None else f" from {least} to {most}"
    low = "" if above is None else f" above {above}"
    return low if most is None else f"{low}{low and ' and'} at most {most}"
