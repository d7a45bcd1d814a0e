"""Which weights enter and leave each hidden unit.

A unit is an output feature of a linear layer or an output channel of a convolution. What leaves it is every weight
that multiplies its activation: after a flattened convolution that is a block of columns (PyTorch flattens channel by
channel, so channel c owns the columns c*P to (c+1)*P - 1, P being the positions of the map); after a concatenation the
columns begin at an offset.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus)
Producer = nn.Linear | nn.Conv2d


class Init(Protocol):
    """How a layer drew its weights when it was built; a reset draws them so again."""

    def draw(self, producer: Producer, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """New weight and bias of `producer`'s shapes, on the CPU, with `generator` alone."""
        ...


@dataclass(frozen=True)
class Orthogonal:
    """Orthogonal weights times a gain, zero bias (what SB3's on-policy algorithms use)."""

    gain: float

    def draw(self, producer: Producer, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        weight = torch.empty(producer.weight.shape, dtype=producer.weight.dtype)
        nn.init.orthogonal_(weight, self.gain, generator=generator)
        return weight, None if producer.bias is None else torch.zeros(producer.bias.shape, dtype=weight.dtype)


@dataclass(frozen=True)
class TorchDefault:
    """Weight and bias uniform in +-1/sqrt(fan_in): the default of `nn.Linear` and `nn.Conv2d`."""

    def draw(self, producer: Producer, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        weight = torch.empty(producer.weight.shape, dtype=producer.weight.dtype)
        bound = 1 / math.sqrt(math.prod(weight.shape[1:]))
        weight.uniform_(-bound, bound, generator=generator)
        if producer.bias is None:
            return weight, None
        return weight, torch.empty(len(weight), dtype=weight.dtype).uniform_(-bound, bound, generator=generator)


@dataclass(frozen=True, eq=False)
class Consumer:
    """A weight that reads a layer's units: unit i feeds the `block` columns from ``start + i * block`` on (axis 1)."""

    weight: Tensor
    bias: Tensor | None = None
    start: int = 0
    block: int = 1

    def columns(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The slice of the weight that the units feed, and `mask` (units,) spread over it, broadcastable to it."""
        spread = mask.repeat_interleave(self.block)
        piece = self.weight[:, self.start : self.start + len(spread)]
        return piece, spread.view(1, -1, *[1] * (piece.dim() - 2))

    def absorb(self, mask: Tensor, means: Tensor) -> None:
        """Add what masked units contribute on average to the bias, so that it stays when their columns are zeroed.

        Exact for linear layers and for convolutions without padding; a consumer without a bias absorbs nothing.

        Args:
            mask: (units,) bool.
            means: mean activation of each unit, (units,), or at each of its `block` positions, (units, block).
        """
        if self.bias is not None:
            piece, columns = self.columns(mask)
            spread = means.repeat_interleave(self.block) if means.dim() == 1 else means.flatten()
            kept = torch.where(columns.flatten(), spread, 0).view_as(columns)
            self.bias.add_((piece * kept).flatten(1).sum(1))


@dataclass(frozen=True, eq=False)
class UnitLayer:
    """One hidden layer that can be reset.

    Attributes:
        name: the network's name and the depth in it, such as ``actor.0``.
        network: the network's name.
        producer: the module whose rows are the units' incoming weights.
        tap: the module whose output the consumers see.
        consumers: every weight that reads the units.
        init: how the producer was initialised.
        constants: (tensor, value): tensors with one row per unit that start from a constant (gSDE's ``log_std``).
    """

    name: str
    network: str
    producer: Producer
    tap: nn.Module
    consumers: tuple[Consumer, ...]
    init: Init
    constants: tuple[tuple[Tensor, float], ...] = ()

    @property
    def units(self) -> int:
        """How many units the layer has."""
        return len(self.producer.weight)


@dataclass(frozen=True, eq=False)
class Network:
    """A part of a policy: its hidden layers, first to last, and the weights and biases of these and of its output."""

    name: str
    layers: tuple[UnitLayer, ...]
    parameters: tuple[nn.Parameter, ...]


@dataclass(frozen=True)
class _Stage:
    producer: Producer
    tap: nn.Module
    flattened: bool


def _stages(name: str, modules: Iterable[nn.Module]) -> list[_Stage]:
    """Producers with their activations; refuses what it does not know rather than treat half of it."""
    stages: list[_Stage] = []
    waiting: Producer | None = None
    for module in modules:
        if isinstance(module, nn.Linear | nn.Conv2d) and waiting is None:
            if isinstance(module, nn.Conv2d) and module.groups != 1:
                raise ValueError(f"{name}: the grouped convolution {module} is not understood; use groups=1")
            waiting = module
        elif isinstance(module, ACTIVATIONS) and waiting is not None:
            stages.append(_Stage(waiting, module, flattened=False))
            waiting = None
        elif isinstance(module, nn.Flatten) and waiting is None and stages:
            stages[-1] = _Stage(stages[-1].producer, stages[-1].tap, flattened=True)
        else:
            raise ValueError(
                f"{name}: {module} is not understood at this place; resets know Linear or Conv2d layers, "
                f"each followed by one of {', '.join(kind.__name__ for kind in ACTIVATIONS)}"
            )
    if waiting is not None:
        raise ValueError(f"{name}: no activation follows {waiting}; end the hidden layers with one")
    return stages


def chain(
    name: str,
    modules: Iterable[nn.Module],
    heads: Sequence[tuple[Producer, int]],
    init: Init,
    *,
    first: int = 0,
    constants: tuple[tuple[Tensor, float], ...] = (),
) -> list[UnitLayer]:
    """The hidden layers of a sequence of modules (Linear or Conv2d, activation, ..., with Flatten between them).

    Args:
        name: the network's name.
        modules: the hidden modules in execution order, without the output layer.
        heads: (module, offset) of everything that reads the last layer, from that column on.
        init: how the modules were initialised.
        first: number of the first layer in the names.
        constants: of the last layer (see `UnitLayer`).

    Raises:
        ValueError: a module, or the way it is connected, is not understood; the message names it.
    """
    stages = _stages(name, modules)
    layers = []
    for depth, stage in enumerate(stages):
        last = depth == len(stages) - 1
        readers = heads if last else [(stages[depth + 1].producer, 0)]
        consumers = [
            _consumer(f"{name}.{first + depth}", stage, reader, start, alone=not last) for reader, start in readers
        ]
        layer = UnitLayer(
            name=f"{name}.{first + depth}",
            network=name,
            producer=stage.producer,
            tap=stage.tap,
            consumers=tuple(consumers),
            init=init,
            constants=constants if last else (),
        )
        layers.append(layer)
    return layers


def _consumer(name: str, stage: _Stage, reader: Producer, start: int, *, alone: bool) -> Consumer:
    """How `reader` sees the units; `alone`: they are all that it sees."""
    units, inputs = len(stage.producer.weight), reader.weight.shape[1]
    block = 1
    if stage.flattened and isinstance(stage.producer, nn.Conv2d):
        if not alone or inputs % units:
            raise ValueError(f"{name}: {reader} must read the flattened convolution and nothing else")
        block = inputs // units
    if start + units * block > inputs or (alone and units * block != inputs):
        raise ValueError(f"{name}: {reader} has {inputs} inputs and cannot read {units} units from column {start} on")
    return Consumer(reader.weight, reader.bias, start, block)
