"""What a registry holds: a name's code, or where that is, so that a name can be known before its code is imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple, TypeVar

Code = TypeVar("Code", bound=Callable[..., Any])


class Entry(NamedTuple):
    """A name's code, or where it is ("module:attribute"), and what it does in one line.

    Attributes:
        of_units: of an intervention: it is known to act on hidden units alone, so that a network without them can be
            refused before the class is imported.
        group: of an intervention: a key of `interventions.GROUPS`.
        paper: where it was published.
        cost: what it adds to the time of gradient steps of PPO, and of DQN at batches of 32 (`benchmarks/README.md`).
    """

    target: str | Callable[..., Any]
    summary: str
    of_units: bool = False
    group: str = "others"
    paper: str = ""
    cost: str = ""

    def resolve(self) -> Any:
        """Import the module, where need be, and return the attribute."""
        return resolve(self.target)


def resolve(target: str | Callable[..., Any]) -> Any:
    """What "module:attribute" names, imported; what is no text is there already."""
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def place(target: str | Callable[..., Any]) -> str:
    """Where code is: ``module:attribute``."""
    return target if isinstance(target, str) else f"{target.__module__}:{target.__qualname__}"


def add(registry: MutableMapping[str, Any], name: str, entry: Any) -> None:
    """Register a name.

    Args:
        registry: name -> entry, of this package or of the same kind: whose `target` is its code, or where that is.
        name: to be given in configs.
        entry: what it stands for.

    Raises:
        ValueError: something else has this name.
    """
    known = registry.get(name)
    if known is not None and _code(known) is not _code(entry) and place(known.target) != place(entry.target):
        raise ValueError(f"the name {name!r} is taken by {place(known.target)}; give {place(entry.target)} another one")
    registry[name] = entry


def registering(
    decorator: str, registry: MutableMapping[str, Entry], name: str, entry: Callable[[Any], Entry]
) -> Callable[[Code], Code]:
    """A decorator that registers what it stands before, and gives a class the name.

    Args:
        decorator: what it is called.
        registry: name -> entry.
        name: that is registered.
        entry: of what it stands before.

    Raises:
        ValueError: the name is no text, or something else has it.
    """
    if not isinstance(name, str):
        raise ValueError(f"{decorator} needs a name; write @{decorator}('mine')")

    def register(code: Code) -> Code:
        add(registry, name, entry(code))
        if isinstance(code, type):
            code.name = name  # type: ignore[attr-defined]  # the base class needs torch, which is not imported here
        return code

    return register


def _code(entry: Any) -> Any:
    """What stands where an entry says, if its module has been imported; else the entry."""
    if not isinstance(entry, Entry) or not isinstance(entry.target, str):
        return entry
    module, _, attribute = entry.target.partition(":")
    return getattr(sys.modules.get(module), attribute, entry)
