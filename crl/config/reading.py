"""YAML files and overrides -> a checked config."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from crl.config.imports import register_plugins
from crl.config.messages import ConfigError, one_line, sentence, shortened, shown
from crl.config.schema import RunConfig

MAX_BYTES = 1 << 19  # of a file; PyYAML takes hundreds for each before anything can be counted
MAX_DEPTH = 50  # levels of lists and mappings; pydantic and PyYAML write no more than a few hundred
MAX_NODES = 1_000_000  # values, with those that aliases stand for
MAX_DIGITS = 10_000  # of a number; PyYAML's time grows with their square
NAMED = {
    "criterion": "name",
    "selection": "name",
    "interventions": "name",
    "optimizer": "name",
    "parts": "name",
    "shifts": "name",
    "tasks": "id",
}
"""Key of a mapping, or of a list of them -> its key whose value may stand alone for all of it."""
NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}


class _Loader(yaml.SafeLoader):
    """YAML's safe types; keys must be text and each is given once (PyYAML keeps the last one in silence)."""

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _measure(node, {})
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            if isinstance(node, yaml.ScalarNode) and node.tag in NUMBERS and len(node.value) > MAX_DIGITS:
                raise ValueError
            value = super().construct_object(node, deep)
        except (AttributeError, KeyError, ValueError):  # PyYAML's own, on `!!bool foo` or 2024-13-45
            problem = f"{shown(node.value)} cannot be read as {node.tag.rpartition(':')[2]}"
            raise _refused(node, problem, "put it in quotes to give text") from None
        if isinstance(node, yaml.ScalarNode) and node.tag in NUMBERS:
            _refuse_other_bases(node, value)
        return value

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Hashable, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise _refused(node, "a mapping is asked for", "write it in braces, such as {key: value}")
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                written = repr(key_node.value) if isinstance(key_node, yaml.ScalarNode) else shown(key)
                raise _refused(key_node, f"the key {written} is not text", "write it in quotes")
            if key in seen:
                raise _refused(key_node, f"the key {shortened(key)!r} is given twice", "remove one of them")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _refuse_other_bases(node: yaml.ScalarNode, value: float) -> None:
    """Refuse numbers that YAML 1.1 reads otherwise than they look: 010 is 8 there, and 1:30 is 90."""
    text = node.value.replace("_", "")
    if ":" in text:
        raise _refused(node, f"YAML reads {text} as {value} (base 60)", "put it in quotes, or write that number")
    if text.lstrip("+-").isdecimal() and int(text) != value:
        raise _refused(node, f"YAML reads {text} as {value} (base 8)", f"write {int(text)} without the zeros in front")


def _measure(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """The levels and the values that a node is written out with: an alias can stand for billions in a few bytes.

    Args:
        node: of a document.
        known: what was measured, by identity; grows.

    Raises:
        RecursionError: it is too deep, or contains itself.
        ConstructorError: it has too many values.
    """
    if id(node) not in known:
        known[id(node)] = (MAX_DEPTH, 0)  # till it is known: what contains itself meets itself there
        inner: list[Any] = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            inner = [each for pair in inner for each in pair]
        found = [_measure(each, known) for each in inner]
        levels, values = 1 + max((levels for levels, _ in found), default=0), 1 + sum(values for _, values in found)
        if levels > MAX_DEPTH:
            raise RecursionError
        if values > MAX_NODES:
            raise _refused(node, f"it has more than {MAX_NODES:,} values, with those of aliases", "give fewer")
        known[id(node)] = (levels, values)
    return known[id(node)]


def _refused(node: yaml.Node, problem: str, remedy: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark, remedy)


def load(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The config of a file, with overrides, checked as far as that needs neither a class nor a device.

    Args:
        path: a YAML file.
        overrides: ``key.sub=value``, list items by index (``interventions.0.rate=1e-3``), values in YAML;
            ``key+=value`` appends to a list.

    Raises:
        ConfigError: the file cannot be read, or something in it, in an override or in an installed plugin is refused.
    """
    config = checked(read_yaml(path), overrides)
    if config.stream.label is not None or config.stream.name is not None:
        return config
    return config.model_copy(update={"stream": config.stream.model_copy(update={"label": path.stem})})


def checked(raw: Any, overrides: Sequence[str] = ()) -> RunConfig:
    """The config of data as YAML gives them, with overrides, checked as by `load`.

    Raises:
        ConfigError: something in it, in an override or in an installed plugin is refused.
    """
    register_plugins()
    for override in overrides:
        raw = changed_by(raw, override)
    try:
        return RunConfig.model_validate(raw).resolved()
    except ValidationError as error:
        raise ConfigError(sentence(error)) from None


def read_yaml(path: Path) -> Any:
    """What a file holds, of which nothing is checked but its size and depth.

    Raises:
        ConfigError: it cannot be read, or is no YAML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"the config file {str(path)!r} does not exist; give the path of a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"the config file {str(path)!r} cannot be read ({reason}); give a YAML file") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"the config file {str(path)!r} has more than {MAX_BYTES:,} bytes; give a shorter one")
    raw = _parse(text, f"the config file {str(path)!r}")
    return {} if raw is None else raw


def _parse(text: str, source: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        problem = f"{one_line(error.problem)}; {error.note or 'correct the YAML there'}"
        if error.problem_mark is not None:
            problem = f"line {error.problem_mark.line + 1}: {problem}"
    except RecursionError:
        problem = f"it is nested more than {MAX_DEPTH} levels deep, or contains itself; make it flatter"
    except Exception as error:  # PyYAML does not say what it raises
        problem = f"{one_line(error)}; correct the YAML there"
    raise ConfigError(f"{source} is refused: {problem}")


def changed_by(raw: Any, override: str) -> Any:
    """`raw`, data as YAML gives them, with an override as it is typed; `raw` stays as it is.

    Args:
        raw: any data.
        override: as for `load`.

    Raises:
        ConfigError: it is none, or there is no such place.
    """
    key, equals, text = override.partition("=")
    appends = key.endswith("+")
    key = key.removesuffix("+")
    source = f"the override {shortened(override)!r}"
    # Words of the command line need not be valid text.
    parts = key.encode("utf-8", "backslashreplace").decode().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"{source} is not of the form key.sub=value; write for example seed=3")
    return _put(raw, parts, _parse(text, source) if len(parts) <= MAX_DEPTH else None, appends, source)


def overridden(raw: Any, key: str, value: Any, source: str) -> Any:
    """`raw`, data as YAML gives them, with an override whose value is such data, too.

    Args:
        raw: stays as it is.
        key: as ``interventions.0.rate``; ``interventions+`` appends.
        value: what is put there; a mapping is merged into one that is there.
        source: what gives the override, for messages.

    Raises:
        ConfigError: there is no such place.
    """
    parts = key.removesuffix("+").split(".")
    if not all(parts):
        raise ConfigError(f"{source} is no key; write one such as agent.learning_rate")
    return _put(raw, parts, value, key.endswith("+"), source)


def _put(raw: Any, parts: Sequence[str], value: Any, appends: bool, source: str) -> Any:
    if len(parts) > MAX_DEPTH:
        raise ConfigError(f"{source} is refused: it is nested more than {MAX_DEPTH} levels deep; give a shorter key")
    return _changed(raw, parts, lambda old: _appended(old, value, source) if appends else _merged(old, value), source)


def _changed(old: Any, parts: Sequence[str], change: Callable[[Any], Any], source: str, holder: str = "") -> Any:
    """`old` with the place that `parts` lead to changed; the index behind the last one adds an item to a list.

    Args:
        old: what is there.
        parts: keys and indices.
        change: from what is at the place, None where nothing is, to what shall be there.
        source: the override, for messages.
        holder: the list whose item `old` is.
    """
    if not parts:
        return change(old)
    head, *rest = parts
    if isinstance(old, list) or (old is None and head == "0"):
        items = old or []
        if head not in map(str, range(len(items) + 1)):
            added = f", or {len(items)} to add one" if items else ", which adds one, since it is empty"
            indices = f"an index from 0 to {len(items) - 1}" if len(items) > 1 else "the index 0"
            raise ConfigError(f"{source} is refused: {shortened(head)!r} is no item of the list; give {indices}{added}")
        index = int(head)
        item = _changed(items[index] if index < len(items) else None, rest, change, source, holder)
        return [*items[:index], item, *items[index + 1 :]]
    if isinstance(old, str) and holder in NAMED:
        old = {NAMED[holder]: old}
    mapping = old if isinstance(old, dict) else {}
    return {**mapping, head: _changed(mapping.get(head), rest, change, source, head)}


def _merged(old: Any, value: Any) -> Any:
    """`value` in place of `old`; mappings are merged."""
    if isinstance(old, dict) and isinstance(value, dict):
        return {**old, **{key: _merged(old.get(key), item) for key, item in value.items()}}
    return value


def _appended(old: Any, value: Any, source: str) -> Any:
    """The list `old` with `value`, or with its items if it is a list, behind its own."""
    if not isinstance(old, list | None):
        raise ConfigError(f"{source} is refused: += appends to lists, and {shown(old)} is none; write = to replace it")
    return [*(old or ()), *(value if isinstance(value, list) else [value])]
