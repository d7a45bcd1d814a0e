"""YAML files and overrides -> a checked config."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from crl.config.messages import ConfigError, sentence
from crl.config.schema import RunConfig


class _Loader(yaml.SafeLoader):
    """YAML's safe types; keys must be text and each is given once (PyYAML keeps the last one in silence)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                problem = f"the key {key_node.value!r} is not text; write it in quotes"
            elif key in seen:
                problem = f"the key {key!r} is given twice; remove one of them"
            else:
                seen.add(key)
                continue
            raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
        return super().construct_mapping(node, deep)


def load(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The config of a file, with overrides, checked as far as that needs neither a class nor a device.

    Args:
        path: a YAML file.
        overrides: ``key.sub=value``, list items by index (``interventions.0.rate=1e-3``), values in YAML.

    Raises:
        ConfigError: the file cannot be read, or something in it or in an override is refused.
    """
    raw = _read(path)
    for override in overrides:
        raw = _overridden(raw, override)
    try:
        return RunConfig.model_validate(raw).resolved()
    except ValidationError as error:
        raise ConfigError(sentence(error)) from None


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"the config file {str(path)!r} does not exist; give the path of a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"the config file {str(path)!r} cannot be read ({reason}); give a YAML file") from None
    raw = _parse(text, f"the config file {str(path)!r}")
    return {} if raw is None else raw


def _parse(text: str, source: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.constructor.ConstructorError as error:
        problem = error.problem
    except yaml.MarkedYAMLError as error:
        problem = f"{error.problem}; correct the YAML there"
        if error.problem_mark is not None:
            problem = f"line {error.problem_mark.line + 1}: {problem}"
    except (yaml.YAMLError, ValueError) as error:
        problem = f"{error}; correct the YAML there"
    raise ConfigError(f"{source} is refused: {problem}")


def _overridden(raw: Any, override: str) -> Any:
    key, equals, text = override.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise ConfigError(f"the override {override!r} is not of the form key.sub=value; write for example seed=3")
    return _merged(raw, parts, _parse(text, f"the override {override!r}"), override)


def _merged(old: Any, parts: Sequence[str], value: Any, override: str) -> Any:
    """`old` with `value` at the place that `parts` lead to; mappings are merged, all else is replaced."""
    if not parts:
        if isinstance(old, dict) and isinstance(value, dict):
            return {**old, **{key: _merged(old.get(key), (), item, override) for key, item in value.items()}}
        return value
    head, *rest = parts
    if isinstance(old, list):
        if not head.isdecimal() or int(head) >= len(old):
            indices = f"an index from 0 to {len(old) - 1}" if old else "a whole list, since it is empty"
            raise ConfigError(f"the override {override!r} is refused: {head!r} is no item of the list; give {indices}")
        return [_merged(item, rest, value, override) if i == int(head) else item for i, item in enumerate(old)]
    mapping = old if isinstance(old, dict) else {}
    return {**mapping, head: _merged(mapping.get(head), rest, value, override)}
