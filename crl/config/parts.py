"""Names of the parts of runs that come from outside, see `crl.parts`. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from agents.plasticity.registry import Entry, registering

PARTS: dict[str, Entry] = {}

PartClass = TypeVar("PartClass", bound=type[Any])


def part(name: str, *, summary: str = "a user's part") -> Callable[[PartClass], PartClass]:
    """Decorator that registers a class as a part of runs, and gives it its name.

    A config whose `imports` name the class's module has it in ``parts: [{name: ..., its arguments}]``. These are the
    constructor's, annotated, and checked as those of interventions are.

    Raises:
        ValueError: another class has this name.
    """
    return registering("part", PARTS, name, lambda found: Entry(found, summary))
