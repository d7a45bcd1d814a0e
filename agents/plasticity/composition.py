"""What modules are made of, and whether they still are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from torch import nn


class Composition:
    """What the modules of a tree hold: tells in microseconds whether one of these things was replaced.

    Args:
        tables: of all modules: dicts in which they hold their own modules, parameters and buffers.
    """

    def __init__(self, tables: Iterable[Mapping[Any, Any]]) -> None:
        self._tables = list(tables)
        self._held = list(self._holding())  # so that nothing else can get its identity
        self._identities = list(map(id, self._held))

    def __getstate__(self) -> tuple[Any, Any]:
        return self._tables, self._held

    def __setstate__(self, state: tuple[Any, Any]) -> None:
        self._tables, self._held = state
        self._identities = list(map(id, self._held))  # a copy of an agent is made of copies, and of nothing else

    def holds(self) -> bool:
        """Whether all is as it was."""
        return list(map(id, self._holding())) == self._identities  # all in C: it is asked at every step

    def _holding(self) -> Iterator[object]:
        return chain.from_iterable(map(dict.values, self._tables))  # type: ignore[arg-type]


class LiveParameters:
    """``list(root.parameters())`` of a module, which asks every module for its name; walked again where it changed.

    Args:
        root: the module.
    """

    def __init__(self, root: nn.Module) -> None:
        self.root = root
        self._found: list[nn.Parameter] = []
        self._composition: Composition | None = None

    def now(self) -> list[nn.Parameter]:
        """The parameters, in torch's order."""
        if self._composition is None or not self._composition.holds():
            self._found = list(self.root.parameters())
            modules = list(self.root.modules())
            self._composition = Composition(table for each in modules for table in (each._modules, each._parameters))
        return self._found
