"""Unit graphs that follow their modules: built anew where a module or a parameter has been replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import is_
from typing import Any

from torch import Tensor, nn

from agents.plasticity.composition import Composition
from agents.plasticity.units.builders import NORMS
from agents.plasticity.units.graph import Network


class LiveNetworks:
    """The unit graphs of some modules, which hold for as long as these are made of the same parts.

    A graph holds modules and parameters. Where a user has put others in their place (a new head, a policy assigned,
    weights that were loaded with ``assign=True``), it would go on with the dead ones.

    Args:
        roots: gives the modules whose trees the graph is of, as they are now.
        build: makes the graphs; raises ValueError where the modules are not understood.
    """

    def __init__(self, roots: Callable[[], Sequence[nn.Module]], build: Callable[[], Mapping[str, Network]]) -> None:
        self._roots, self._build = roots, build
        self._networks: Mapping[str, Network] | None = None
        self._seen: tuple[nn.Module, ...] = ()
        self._composition = Composition(())

    @property
    def built(self) -> bool:
        """Whether anybody has asked for the graphs."""
        return self._networks is not None

    def now(self) -> Mapping[str, Network]:
        """Name -> graph; the same object until something was replaced. Costs microseconds where nothing was.

        Raises:
            ValueError: the modules are not understood.
        """
        if self._networks is None or self._changed():
            self._networks = self._build()
            self._seen = tuple(self._roots())
            self._composition = Composition(table for module in self.modules() for table in _tables(module))
        return self._networks

    def _changed(self) -> bool:
        roots = self._roots()
        if len(roots) != len(self._seen) or not all(map(is_, roots, self._seen)):
            return True
        return not self._composition.holds()

    @property
    def names(self) -> Sequence[str]:
        """Of the graphs that were built last, without a look at whether they still hold."""
        return tuple(self.now() if self._networks is None else self._networks)

    @property
    def root(self) -> nn.Module:
        """The module that the graphs are of, or a list of them where there are several."""
        roots = self._roots()
        return roots[0] if len(roots) == 1 else nn.ModuleList(roots)

    def modules(self) -> list[nn.Module]:
        """All modules of the trees."""
        return [module for root in self._roots() for module in root.modules()]

    def name_of(self, parameter: Tensor) -> str:
        """Where the modules have a parameter, such as ``actor.0.weight``; its shape, where they do not have it."""
        for root in self._roots():
            for path, found in root.named_parameters():
                if found is parameter:
                    return path
        return f"parameter of shape {tuple(parameter.shape)}"


def _tables(module: nn.Module) -> list[dict[str, Any]]:
    """What a graph may hold of a module; its buffers only where they are statistics of units: `to` replaces them."""
    found: list[dict[str, Any]] = [module._modules, module._parameters]
    return [*found, module._buffers] if isinstance(module, NORMS) else found
