"""What is read of modules that others hold, for as long as these are made of the same parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from operator import is_
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as everywhere

from agents.plasticity.composition import Composition, LiveParameters
from agents.speed.activations import activation_of
from agents.speed.board_networks import BoardNetworks
from agents.speed.layers import Quick
from agents.speed.perceptrons import HOOKS, OtherNetworkError, Pays, Perceptrons
from agents.speed.relu_networks import ReluNetwork
from agents.speed.trunks import Trunk

GLOBAL = [getattr(everywhere, f"_global{hooks}") for hooks in HOOKS]


Found = TypeVar("Found", Perceptrons, Trunk)


class LiveReading(ABC, Generic[Found]):
    """Reads networks, and reads them anew where modules or parameters were replaced."""

    def __init__(self) -> None:
        self._seen: list[nn.Module] = []
        self._composition = Composition(())
        self._parameters: list[Tensor] = []
        self._forms: list[tuple[torch.Size, torch.dtype]] = []
        self._found: Found | None = None

    def of(self, networks: Sequence[nn.Module], heads: Sequence[nn.Module] = ()) -> Found | None:
        """What computes as these modules do; None where that is not known, or where somebody looks into them.

        Args:
            networks: as `_read` takes them.
            heads: likewise.
        """
        roots = [*networks, *heads]
        same = len(roots) == len(self._seen) and all(map(is_, roots, self._seen))
        if not same or not self._composition.holds() or _forms(self._parameters) != self._forms:
            self._look(networks, heads)
        found = self._found
        if found is None or self._is_watched():
            return None
        autocast = any(torch.is_autocast_enabled(each.device.type) for each in found.parameters[:1])
        return None if autocast else found

    def _look(self, networks: Sequence[nn.Module], heads: Sequence[nn.Module]) -> None:
        self._seen = [*networks, *heads]
        modules = [module for root in self._seen for module in root.modules()]
        self._composition = Composition(table for each in modules for table in (each._modules, each._parameters))
        self._parameters = [parameter for root in self._seen for parameter in root.parameters()]
        self._forms = _forms(self._parameters)
        self._hooks = [getattr(module, hooks) for module in modules for hooks in HOOKS] + GLOBAL
        self._own = [vars(module) for module in modules]
        known = [(each, found) for each in modules if (found := activation_of(each)) is not None]
        self._activations = [(each, found) for each, found in known if found.setting is not None]
        self._found = None
        with suppress(OtherNetworkError):
            self._found = self._read(networks, heads)

    def _is_watched(self) -> bool:
        """Whether more is run than the classes' ``forward`` and its backward, or activations have other settings."""
        return (
            any(self._hooks)
            or any(each._backward_hooks or each._post_accumulate_grad_hooks for each in self._parameters)
            or any("forward" in own or own.get("_compiled_call_impl") is not None for own in self._own)
            or any(activation_of(module) != found for module, found in self._activations)
        )

    @abstractmethod
    def _read(self, networks: Sequence[nn.Module], heads: Sequence[nn.Module]) -> Found:
        """What these modules are.

        Raises:
            OtherNetworkError: that is not known.
        """


def _forms(parameters: Sequence[Tensor]) -> list[tuple[torch.Size, torch.dtype]]:
    """What a parameter may change by its ``.data``, though it is the same one."""
    return [(each.shape, each.dtype) for each in parameters]


class LivePerceptrons(LiveReading[Perceptrons]):
    """Networks that are `nn.Sequential`.

    Args:
        pays: see `Perceptrons`.
    """

    def __init__(self, pays: Pays) -> None:
        super().__init__()
        self._pays = pays

    def _read(self, networks: Sequence[nn.Module], heads: Sequence[nn.Module]) -> Perceptrons:
        plain = [each for each in networks if isinstance(each, nn.Sequential) and type(each) is nn.Sequential]
        if len(plain) < len(networks):
            raise OtherNetworkError("its networks are no nn.Sequential")
        return Perceptrons(plain, heads, pays=self._pays)


class LiveTrunk(LiveReading[Trunk]):
    """A features extractor."""

    def _read(self, networks: Sequence[nn.Module], heads: Sequence[nn.Module]) -> Trunk:
        (extractor,) = networks
        return Trunk.of(extractor)


class AtOnce:
    """The networks of one learner that are computed as `Perceptrons`.

    Args:
        quick: how its other layers compute.
    """

    def __init__(self, quick: Quick) -> None:
        self.quick = quick
        self._live: dict[str, LivePerceptrons] = {}
        self._trunk = LiveTrunk()
        self._boards: tuple[tuple[Any, ...], BoardNetworks | None] = (), None
        self._parameters: dict[int, LiveParameters] = {}
        self._relu: dict[str, tuple[Perceptrons, int, list[ReluNetwork] | None]] = {}

    def __reduce__(self) -> tuple[type[AtOnce], tuple[Quick]]:
        return AtOnce, (self.quick,)  # a copy's networks are read anew: others' dicts and identities are no copy's

    def perceptrons(
        self, purpose: str, networks: Sequence[nn.Module], heads: Sequence[nn.Module] = ()
    ) -> Perceptrons | None:
        """See `LiveReading.of`.

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

    def board_networks(
        self, extractor: nn.Module, actor: Perceptrons, critic: Perceptrons, *, rows: int
    ) -> BoardNetworks | None:
        """What an extractor, and an actor and a critic behind it, are together; None where they are no such networks.

        Args:
            extractor: of features.
            actor: of `perceptrons`.
            critic: likewise.
            rows: boards that they are asked about.
        """
        trunk = self._trunk.of([extractor])
        if trunk is None:
            return None
        asked = trunk, actor, critic, rows
        before, found = self._boards
        if len(before) < len(asked) or not all(map(is_, before[:3], asked)) or before[3] != rows:
            found = BoardNetworks.of(*asked)
            self._boards = asked, found
        return found

    def _pays(self, count: int, weight: Tensor) -> bool:
        return self.quick._pays(count, weight, weight)
