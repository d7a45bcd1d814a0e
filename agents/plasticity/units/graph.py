"""Hidden layers as resets see them: what enters their units, what leaves them, and what else belongs to them.

A unit is an output feature of a linear layer or an output channel of a convolution. What leaves it is every weight
that multiplies its activation: after a flattened convolution that is a block of columns (PyTorch flattens channel by
channel, so channel c owns the columns c*P to (c+1)*P - 1, P being the positions of the map); after a concatenation the
columns begin at an offset; behind an activation function that folds (`agents.plasticity.layers`) a unit has several
values, whose columns lie as far apart as there are units, times P.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from agents.plasticity.injectable import Injectable
from agents.plasticity.units.inits import Init
from agents.plasticity.units.places import Input, Output, Place

Producer = nn.Linear | nn.Conv2d


@dataclass(frozen=True, eq=False)
class Consumer:
    """A weight that reads a layer's units: unit i feeds the `block` columns from ``start + i * block`` on (axis 1).

    Where the layer's activation function folds, these are those of its first value. The others' follow behind all
    first ones, in the same order.

    Attributes:
        weight: (outputs, inputs) or (outputs, channels, height, width).
        bias: (outputs,).
        start: the first unit's column.
        block: columns of each value of a unit.
        module: a Linear or Conv2d that holds the weight; needed where the layer has no `tap`.
        fold: values of each unit.
        head: the weight is its first one, and the units stand before it: once plasticity was injected into it, its
            `frozen` weights read them, too.
    """

    weight: Tensor
    bias: Tensor | None = None
    start: int = 0
    block: int = 1
    module: nn.Module | None = None
    fold: int = 1
    head: Injectable | None = None

    @property
    def frozen(self) -> tuple[Consumer, ...]:
        """What reads the same units beside it since plasticity was injected."""
        if self.head is None or not self.head.injected:
            return ()
        weights = self.head.frozen_like(self.weight)
        biases = (None, None) if self.bias is None else self.head.frozen_like(self.bias)
        return tuple(
            replace(self, weight=weight, bias=bias, head=None) for weight, bias in zip(weights, biases, strict=True)
        )

    def columns(self, units: Tensor) -> tuple[Tensor, Tensor]:
        """The slice of the weight that the units feed, and `units` (one value each) spread over it, broadcastable."""
        spread = units.repeat_interleave(self.block).repeat(self.fold)
        piece = self.weight[:, self.start : self.start + len(spread)]
        return piece, spread.view(1, -1, *[1] * (piece.dim() - 2))

    def outgoing(self, units: int) -> Tensor:
        """What leaves each unit, (units, weights, positions): the columns that it feeds, value by value."""
        piece = self.weight[:, self.start : self.start + units * self.block * self.fold]
        split = piece.reshape(len(piece), self.fold, units, self.block, -1)
        return split.permute(2, 0, 4, 1, 3).flatten(3).flatten(1, 2)

    def absorb(self, amounts: Tensor, means: Tensor) -> None:
        """Add what units lose on average to the bias, so that it stays when their columns shrink.

        Exact for linear layers and for convolutions without padding; a consumer without a bias absorbs nothing.

        Args:
            amounts: (units,), the share of each unit's outgoing weights that is lost.
            means: mean activation of each unit, (units,), or at each of its positions, (units, fold * block).
        """
        if self.bias is not None:
            piece, columns = self.columns(amounts)
            if means.dim() == 1:
                spread = means.repeat_interleave(self.block)
            else:
                spread = means.unflatten(1, (self.fold, self.block)).transpose(0, 1).flatten()
            lost = torch.where(columns.flatten() > 0, columns.flatten() * spread, 0).view_as(columns)
            self.bias.add_((piece * lost).flatten(1).sum(1))


@dataclass(frozen=True, eq=False)
class UnitLayer:
    """One hidden layer that can be reset.

    Attributes:
        name: the network's name and the depth in it, such as ``actor.0``.
        network: the network's name.
        producer: the module whose rows are the units' incoming weights.
        tap: the module whose output the consumers see: the activation, or a normalisation or pooling behind it. None
            where no module puts that out (``torch.relu``): the units are then what the consumers' modules take in.
        consumers: every weight that reads the units.
        init: how the producer was initialised.
        constants: (tensor, value): tensors with one row per unit that start from a constant (a normalisation's
            parameters and statistics).
        exact: a unit whose activation is zero everywhere can be replaced without changing what the network computes;
            false where a normalisation lets each unit change the others' activations.
        fixed: why its units cannot be reset; empty where they can. They are measured all the same.
        preactivation: the module whose output goes into the activation function: the producer, or a normalisation or
            dropout behind it. None where no module's output does; then criteria that look at it refuse the layer.

    Raises:
        ValueError: nothing reads the units, a consumer or a constant has no room for them, or there is neither a tap
            nor every consumer's module.
    """

    name: str
    network: str
    producer: Producer
    tap: nn.Module | None
    consumers: tuple[Consumer, ...]
    init: Init
    constants: tuple[tuple[Tensor, float], ...] = ()
    exact: bool = True
    fixed: str = ""
    preactivation: nn.Module | None = None

    def __post_init__(self) -> None:
        if not self.consumers:
            raise ValueError(f"{self.name}: nothing reads the units of {self.producer}; give the consumers' weights")
        for consumer in self.consumers:
            inputs = consumer.weight.shape[1]
            columns = consumer.block * consumer.fold
            if consumer.start < 0 or consumer.start + self.units * columns > inputs:
                raise ValueError(
                    f"{self.name}: a consumer with {inputs} inputs cannot read {self.units} units of {columns} "
                    f"columns each from column {consumer.start} on; correct its start or block"
                )
            if consumer.fold != self.fold:
                raise ValueError(
                    f"{self.name}: one consumer reads {self.fold} values of each unit and another {consumer.fold}; "
                    "give all the fold of the layer's activation function"
                )
        if self.tap is None and any(consumer.module is None for consumer in self.consumers):
            raise ValueError(
                f"{self.name}: tap is None and a consumer has no module, so that the units cannot be seen; give the "
                "module whose output the consumers see, or every consumer's module"
            )
        if any(len(tensor) != self.units for tensor, _ in self.constants):
            raise ValueError(f"{self.name}: a constant has not {self.units} rows; give tensors with a row per unit")

    @property
    def units(self) -> int:
        """How many units the layer has."""
        return len(self.producer.weight)

    @property
    def fold(self) -> int:
        """How many values each unit has: more than 1 where its activation function folds."""
        return self.consumers[0].fold

    @property
    def positions(self) -> int:
        """How many columns of a consumer each unit feeds: its values, each at the positions of a flattened map."""
        return self.fold * self.consumers[0].block

    @property
    def places(self) -> tuple[Place, ...]:
        """Where the units can be seen and held: all of these together are what the consumers see."""
        if self.tap is not None:
            return (Output(self.tap, self.fold),)
        return tuple(
            Input(reader.module, reader.start, self.units, reader.block, reader.fold)
            for reader in self.consumers
            if reader.module is not None
        )

    @property
    def readers(self) -> tuple[Consumer, ...]:
        """The consumers, and those beside them in heads that plasticity was injected into."""
        return tuple(reader for consumer in self.consumers for reader in (consumer, *consumer.frozen))

    def before(self, heads: Iterable[Injectable]) -> UnitLayer:
        """This layer, with it said of its consumers which of the heads they begin."""
        behind = [head for head in heads if all(weight is not self.producer.weight for weight in head.live)]
        found: dict[Tensor, Injectable] = {weight: head for head in behind for weight in head.live}
        return replace(self, consumers=tuple(replace(each, head=found.get(each.weight)) for each in self.consumers))

    def outgoing(self) -> Tensor:
        """What leaves each unit to all readers, (units, weights, positions)."""
        return torch.cat([reader.outgoing(self.units) for reader in self.readers], 1)

    def mean(self, a: Tensor) -> Tensor:
        """Mean of the units' activations over a batch, (units,), or at each of several positions, (units, positions).

        Args:
            a: (batch, units, ...), as the layer's taps show them.
        """
        if self.positions == 1:
            return a.mean([0, *range(2, a.dim())])
        return a.reshape(len(a), self.units, self.positions, -1).mean([0, 3])


@dataclass(frozen=True, eq=False)
class Part:
    """A module with parameters of its own, for resets of whole layers.

    Attributes:
        module: whose weight and bias are drawn again.
        init: how.
        height: layers that follow it in its network, 0 for an output layer.
    """

    module: nn.Module
    init: Init
    height: int


@dataclass(frozen=True, eq=False)
class Network:
    """A part of a policy: its hidden layers, first to last, and all that is trained in it.

    Attributes:
        name: short, such as ``actor``.
        layers: the hidden layers whose units are known.
        parts: every module with parameters, output layers included.
        constants: (tensor, value): parameters outside modules that start from a constant (``log_std``).
        fixed: hidden layers whose units are not known one by one, so that they cannot be reset -> why.
        heads: all layers behind its features, where these are built for plasticity injection: each with those of target
            networks that follow it.

    Raises:
        ValueError: a parameter belongs to two parts, so that what is done to one would be done to the other; a layer is
            of another network, or its producer is not among the parts.
    """

    name: str
    layers: tuple[UnitLayer, ...]
    parts: tuple[Part, ...]
    constants: tuple[tuple[Tensor, float], ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)
    heads: tuple[tuple[Injectable, ...], ...] = ()

    def __post_init__(self) -> None:
        owners: dict[Tensor, nn.Module] = {}
        for part in self.parts:
            for parameter in part.module.parameters(recurse=False):
                if parameter in owners:
                    raise ValueError(
                        f"{self.name}: {part.module} shares a parameter with {owners[parameter]}; give each its own"
                    )
                owners[parameter] = part.module
        for layer in self.layers:
            if layer.network != self.name:
                raise ValueError(f"{self.name}: {layer.name} is of the network {layer.network!r}; give both one name")
            if layer.producer.weight not in owners:
                raise ValueError(f"{self.name}: the producer of {layer.name} is not among the parts; add it")

    @property
    def unresettable(self) -> Mapping[str, str]:
        """Hidden layers whose units cannot be reset -> why: those in `fixed`, and layers that are only measured."""
        return {**self.fixed, **{layer.name: layer.fixed for layer in self.layers if layer.fixed}}

    @property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        """Weights and biases of all parts."""
        return tuple(parameter for part in self.parts for parameter in part.module.parameters(recurse=False))
