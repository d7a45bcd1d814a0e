"""`Perceptrons` of modules that others hold, for as long as these are made of the same parts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from operator import is_

import torch
from torch import Tensor, nn
from torch.nn.modules import module as everywhere

from agents.plasticity.composition import Composition, LiveParameters
from agents.speed.activations import activation_of
from agents.speed.layers import Quick
from agents.speed.perceptrons import HOOKS, OtherNetworkError, Pays, Perceptrons
from agents.speed.relu_networks import ReluNetwork

GLOBAL = [getattr(everywhere, f"_global{hooks}") for hooks in HOOKS]


class LivePerceptrons:
    """Reads networks, and reads them anew where modules or parameters were replaced.

    Args:
        pays: see `Perceptrons`.
    """

    def __init__(self, pays: Pays) -> None:
        self._pays = pays
        self._seen: list[nn.Module] = []
        self._composition = Composition(())
        self._found: Perceptrons | None = None

    def of(self, networks: Sequence[nn.Module], heads: Sequence[nn.Module] = ()) -> Perceptrons | None:
        """What computes as these modules do; None where that is not known, or where somebody looks into them.

        Args:
            networks: `nn.Sequential` each.
            heads: see `Perceptrons`.
        """
        roots = [*networks, *heads]
        same = len(roots) == len(self._seen) and all(map(is_, roots, self._seen))
        if not same or not self._composition.holds():
            self._read(networks, heads)
        found = self._found
        if found is None or self._is_watched() or torch.is_autocast_enabled(found.parameters[0].device.type):
            return None
        return found

    def _read(self, networks: Sequence[nn.Module], heads: Sequence[nn.Module]) -> None:
        self._seen = [*networks, *heads]
        modules = [module for root in self._seen for module in root.modules()]
        self._composition = Composition(table for each in modules for table in (each._modules, each._parameters))
        self._hooks = [getattr(module, hooks) for module in modules for hooks in HOOKS] + GLOBAL
        self._own = [vars(module) for module in modules]
        self._activations = [(each, found) for each in modules if (found := activation_of(each)) is not None]
        self._found = None
        plain = [each for each in networks if isinstance(each, nn.Sequential) and type(each) is nn.Sequential]
        if len(plain) == len(networks):
            with suppress(OtherNetworkError):
                self._found = Perceptrons(plain, heads, pays=self._pays)

    def _is_watched(self) -> bool:
        """Whether the modules are not run by their classes' ``forward`` alone, or activations have other settings."""
        return (
            any(self._hooks)
            or any("forward" in own or own.get("_compiled_call_impl") is not None for own in self._own)
            or any(activation_of(module) != found for module, found in self._activations)
        )


class AtOnce:
    """The networks of one learner that are computed as `Perceptrons`.

    Args:
        quick: how its other layers compute.
    """

    def __init__(self, quick: Quick) -> None:
        self.quick = quick
        self._live: dict[str, LivePerceptrons] = {}
        self._parameters: dict[int, LiveParameters] = {}
        self._relu: dict[str, tuple[Perceptrons, int, list[ReluNetwork] | None]] = {}

    def __reduce__(self) -> tuple[type[AtOnce], tuple[Quick]]:
        return AtOnce, (self.quick,)  # a copy's networks are read anew: others' dicts and identities are no copy's

    def perceptrons(
        self, purpose: str, networks: Sequence[nn.Module], heads: Sequence[nn.Module] = ()
    ) -> Perceptrons | None:
        """See `LivePerceptrons.of`.

        Args:
            purpose: by which these networks are found again, such as ``critic_target``.
            networks: `nn.Sequential` each.
            heads: see `Perceptrons`.
        """
        if purpose not in self._live:
            self._live[purpose] = LivePerceptrons(self._pays)
        return self._live[purpose].of(networks, heads)

    def parameters(self, module: nn.Module) -> list[Tensor]:
        """``list(module.parameters())``."""
        if id(module) not in self._parameters:  # which is held, so that no other gets its identity
            self._parameters[id(module)] = LiveParameters(module)
        return [*self._parameters[id(module)].now()]

    def relu_networks(
        self, purpose: str, networks: Sequence[nn.Module], heads: Sequence[nn.Module] = (), *, rows: int
    ) -> list[ReluNetwork] | None:
        """Each of these networks, which are asked about so many rows; None where it is none: see `ReluNetwork.of`."""
        found = self.perceptrons(purpose, networks, heads)
        if found is None:
            return None
        before, of_rows, each = self._relu.get(purpose, (None, 0, None))
        if found is not before or rows != of_rows:
            each = ReluNetwork.of(found, rows)
            self._relu[purpose] = found, rows, each
        return each

    def _pays(self, count: int, weight: Tensor) -> bool:
        return self.quick._pays(count, weight, weight)
