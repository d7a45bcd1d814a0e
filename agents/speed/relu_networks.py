"""Networks of ReLU layers on a CPU, forward and backward without a graph: a compiled call each.

Between a network's products hidden layers stay in what these are made in, and what is done to each of their numbers is
done while they are made. The calls hold no interpreter lock, so that two threads of Python's compute two networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.speed.activations import Activation
from agents.speed.boards import kernels
from agents.speed.perceptrons import Dense, Perceptrons
from agents.speed.threads import threads_for

NARROW = 16
"""Inputs of a first layer up to which a loop takes less time than a product with what is around it."""
FEW = 64
"""Outputs of a last layer up to which a loop does."""
PANEL = 32
"""What hidden layers are multiples of."""
RELU = Activation("ReLU")
NOTHING = torch.empty(0, 0)
Layers = tuple[np.ndarray, ...]


class Trace(NamedTuple):
    """What the backward needs of a forward.

    Attributes:
        x: what went in, (rows, inputs).
        hidden: what follows each hidden layer, (rows, units).
    """

    x: Tensor
    hidden: Layers


class ReluNetwork:
    """One network, read from `Perceptrons`.

    Args:
        layers: at least two; see `of`.
        half: whether hidden layers are bfloat16.
    """

    def __init__(self, layers: Sequence[Dense], *, half: bool) -> None:
        self._layers, self._kind = layers, np.int16 if half else np.float32
        self.parameters = [parameter for layer in layers for parameter in layer.parameters]
        self._places: list[int] = []
        self._held: list[tuple[list[np.ndarray], ...]] = []

    @classmethod
    def of(cls, networks: Perceptrons, rows: int) -> list[ReluNetwork] | None:
        """Each of several; None where they are of other layers, or the CPU's registers are too small.

        Args:
            networks: that are asked about so many rows, usually.
            rows: of an input.
        """
        *hidden, last = [each[0] for each in networks.layers]
        if (
            kernels() is None
            or not kernels().has_registers()
            or networks.dtype is not torch.float32
            or not networks.parameters[0].is_cpu
        ):
            return None
        if len(set(map(id, networks.parameters))) < len(networks.parameters):
            return None  # of one that several share the gradients are to be added up
        if not hidden or not all(map(is_hidden, hidden)) or not is_last(last):
            return None
        half = any(networks.pays(rows * each.weights[0].numel(), each.weights[0]) for each in hidden[1:])
        if half and not kernels().has_pairs():
            return None
        return [cls(layers, half=half) for layers in zip(*networks.layers, strict=True)]

    def forward(self, x: Tensor) -> tuple[Tensor, Trace]:
        """What comes out of `x`, (rows, outputs), and what `backward` needs.

        Args:
            x: (rows, inputs), without a graph.
        """
        x = x.contiguous()
        weights, biases = self._numbers()
        product, first = NOTHING, self._layers[0].weights[0].detach()
        if x.shape[1] > NARROW:
            with threads_for(len(x) * first.numel()):
                product = torch.mm(x, first.t())
        hidden = tuple([np.empty((len(x), len(bias)), self._kind) for bias in biases[:-1]])
        out = np.empty((len(x), len(biases[-1])), np.float32)
        kernels().relu_networks.forward(x.numpy(), product.numpy(), weights, biases, hidden, out)
        return torch.from_numpy(out), Trace(x, hidden)

    def gradients(self, trace: Trace, gradient: Tensor) -> list[Tensor]:
        """Those of the parameters, in their order.

        Args:
            trace: of the forward; where that had more rows, the first ones are those of the gradient.
            gradient: of what came out, (rows, outputs).
        """
        weights, biases = self._numbers()
        rows, narrow = len(gradient), trace.x.shape[1] <= NARROW
        at_weights, at_biases = ([np.empty_like(each) for each in parts] for parts in (weights, biases))
        at_product = np.empty((0 if narrow else rows, len(biases[0])), np.float32)
        written = (at_weights[0] if narrow else at_weights[0][:0], *at_weights[1:]), tuple(at_biases)
        kernels().relu_networks.gradients(
            trace.x.numpy(), weights, trace.hidden, gradient.contiguous().numpy(), *written, at_product
        )  # fmt: skip
        found = [*map(torch.from_numpy, at_weights)], [*map(torch.from_numpy, at_biases)]
        if not narrow:
            with threads_for(rows * found[0][0].numel()):
                torch.mm(torch.from_numpy(at_product).t(), trace.x[:rows], out=found[0][0])
        return [
            part
            for layer, *pair in zip(self._layers, *found, strict=True)
            for each in pair
            for part in (each.split([len(weight) for weight in layer.weights]) if len(layer.weights) > 1 else (each,))
        ]

    def input_gradient(self, trace: Trace, gradient: Tensor, wanted: int) -> Tensor:
        """That of the last inputs, of which so many are wanted: (rows, wanted).

        Args:
            trace: of the forward.
            gradient: of what came out, (rows, outputs).
            wanted: how many.
        """
        weights, _ = self._numbers()
        found = np.empty((len(gradient), wanted), np.float32)
        kernels().relu_networks.input_gradient(weights, trace.hidden, gradient.contiguous().numpy(), found)
        return torch.from_numpy(found)

    def _numbers(self) -> tuple[Layers, Layers]:
        """Weights and biases as they are now; those of the last layers, which lie side by side, as copies."""
        places = [parameter.data_ptr() for parameter in self.parameters]
        if places != self._places:  # seldom: somebody has given them other memory
            self._held = [
                tuple([[part.detach().contiguous().numpy() for part in parts] for parts in whole])
                for whole in ([each.weights for each in self._layers], [each.biases for each in self._layers])
            ]
            # What lies otherwise was copied, and may change.
            self._places = places if all(map(Tensor.is_contiguous, self.parameters)) else []
        weights, biases = self._held
        return tuple(map(_joined, weights)), tuple(map(_joined, biases))


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def is_hidden(layer: Dense, activation: Activation = RELU) -> bool:
    """Whether the loops know a hidden layer, with this activation function."""
    whole = len(layer.linears) == 1 and len(layer.biases) == 1 and len(layer.weights[0]) % PANEL == 0
    return whole and layer.activation == activation


def is_last(layer: Dense) -> bool:
    """Whether they know a last one."""
    outputs = sum(len(weight) for weight in layer.weights)
    return layer.activation is None and len(layer.biases) == len(layer.weights) and outputs <= FEW
