"""Networks of ReLU layers on a CPU, forward and backward without a graph: products, and one compiled loop around each.

Between a network's products hidden layers stay in what these are made in, so that nothing is cast, and a loop adds the
biases, rectifies, and sums up gradients in one pass. A layer that reads or gives few numbers is such a loop itself.
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
from agents.speed.sparse import LANES
from agents.speed.threads import threads_for

NARROW = 16
"""Inputs of a first layer up to which a loop takes less time than a product with what is around it."""
FEW = 64
"""Outputs of a last layer up to which a loop does."""
RELU = Activation("ReLU")
NOTHING = np.empty(0, np.float32)


class Trace(NamedTuple):
    """What the backward needs of a forward.

    Attributes:
        x: what went in, (rows, inputs), as its product reads it.
        hidden: what follows each hidden layer, (rows, units).
        weights: of the layers between the first and the last one, as they are multiplied.
    """

    x: Tensor
    hidden: list[Tensor]
    weights: list[Tensor]


class ReluNetwork:
    """One network, read from `Perceptrons`.

    Args:
        layers: at least two; see `reads`.
        first: dtype in which the first layer's product is made.
        hidden: that of all between the first and the last one.
    """

    def __init__(self, layers: Sequence[Dense], first: torch.dtype, hidden: torch.dtype) -> None:
        self._first, *self._between, self._last = layers
        self._kind, self._hidden = first, hidden
        self.outputs = sum(len(weight) for weight in self._last.weights)
        self.parameters = [parameter for layer in layers for parameter in layer.parameters]
        self._arrays: list[tuple[np.ndarray, np.ndarray]] = []
        self._places: list[int] = []

    @classmethod
    def of(cls, networks: Perceptrons, rows: int) -> list[ReluNetwork] | None:
        """Each of several; None where they are of other layers.

        Args:
            networks: that are asked about so many rows, usually.
            rows: of an input.
        """
        same = [each[0] for each in networks.layers]
        if kernels() is None or networks.dtype is not torch.float32 or not networks.parameters[0].is_cpu:
            return None
        if len(set(map(id, networks.parameters))) < len(networks.parameters):
            return None  # of one that several share the gradients are to be added up
        if len(same) < 2 or not all(map(_is_known, same[:-1])) or not _is_last(same[-1]):
            return None

        def kind(layers: Sequence[Dense]) -> torch.dtype:
            pays = any(networks.pays(rows * each.weights[0].numel(), each.weights[0]) for each in layers)
            return torch.bfloat16 if pays else torch.float32

        chosen = kind(same[:1]), kind(same[1:-1])
        return [cls(layers, *chosen) for layers in zip(*networks.layers, strict=True)]

    def forward(self, x: Tensor) -> tuple[Tensor, Trace]:
        """What comes out of `x`, (rows, outputs), and what `backward` needs.

        Args:
            x: (rows, inputs), contiguous, without a graph.
        """
        first, *between, (last, last_bias) = self._held()
        y = x.new_empty(len(x), len(first[1]), dtype=self._hidden)
        if x.shape[1] <= NARROW:
            kernels().enter(_numbers(x), *first, _numbers(y))
        else:
            x = x.to(self._kind)
            product = _product(x, self._first.weights[0].detach().to(self._kind).t())
            kernels().rectify(_numbers(product), first[1], _numbers(y))
        trace = Trace(x, [y], [layer.weights[0].detach().to(self._hidden) for layer in self._between])
        before = NOTHING
        for weight, (_, bias) in zip(trace.weights, between, strict=True):
            if len(before):
                kernels().rectify(_numbers(y), before, _numbers(y))
            y, before = _product(y, weight.t()), bias
            trace.hidden.append(y)
        out = x.new_empty(len(x), self.outputs, dtype=torch.float32)
        kernels().leave(_numbers(y), before, last, last_bias, _numbers(out))
        return out, trace

    def backward(
        self, trace: Trace, gradient: Tensor, *, learns: bool = True, wanted: int = 0
    ) -> tuple[list[Tensor], Tensor | None]:
        """The gradients of the parameters, in their order, and that of what went in, where wanted.

        Args:
            trace: of the forward; where that had more rows, the first ones are those of the gradient.
            gradient: of what came out, (rows, outputs).
            learns: whether the parameters' are wanted.
            wanted: of how many of the last inputs it is.
        """
        rows, loops = len(gradient), kernels()
        found: list[list[Tensor]] = []
        y = trace.hidden[-1][:rows]
        first, *_, (weight, _) = self._held()
        at_y, at_bias = torch.empty_like(y), y.new_empty(y.shape[1] if learns else 0, dtype=torch.float32)
        outputs = self.outputs if learns else 0
        sums = gradient.new_empty(outputs, y.shape[1]), gradient.new_empty(outputs)
        loops.leave_gradient(_numbers(y), weight, *map(_numbers, (gradient, at_y, at_bias, *sums)))
        if learns:
            sizes = [len(each) for each in self._last.weights]
            found.append([part for each in sums for part in (each.split(sizes) if len(sizes) > 1 else (each,))])
        for number in reversed(range(len(self._between))):
            x = trace.hidden[number][:rows]
            if learns:
                found.append([_product(at_y.t(), x).float(), at_bias])
            at_y = _product(at_y, trace.weights[number])
            if number:
                at_bias = at_bias.new_empty(x.shape[1] if learns else 0)
                loops.rectify_gradient(*map(_numbers, (x, at_y, at_y, at_bias)))
        of_first, at_x = self._backward_of_first(trace, at_y, first[0], learns, wanted)
        found.append(of_first)
        return [each for layer in reversed(found) for each in layer], at_x

    def _backward_of_first(
        self, trace: Trace, gradient: Tensor, numbers: np.ndarray, learns: bool, wanted: int
    ) -> tuple[list[Tensor], Tensor | None]:
        """As `backward`, of the gradient behind the first layer's ReLU."""
        rows, (weight,), (bias,) = len(gradient), self._first.weights, self._first.biases
        x, y = trace.x[:rows], trace.hidden[0][:rows]
        at_bias = bias.new_empty(len(bias) if learns else 0)
        if x.shape[1] <= NARROW:
            at_weight, at_x = weight.new_empty(len(at_bias), x.shape[1]), x.new_zeros(rows, wanted)
            written = map(_numbers, (y, gradient, at_weight, at_bias, at_x))
            kernels().enter_gradient(_numbers(x), numbers, *written)
            return [at_weight, at_bias] if learns else [], at_x if wanted else None
        at_product = gradient.new_empty(gradient.shape, dtype=self._kind)
        kernels().rectify_gradient(*map(_numbers, (y, gradient, at_product, at_bias)))
        found = [_product(at_product.t(), x).float(), at_bias] if learns else []
        last = weight.detach()[:, weight.shape[1] - wanted :].to(self._kind)
        return found, _product(at_product, last).float() if wanted else None

    def _held(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weight and biases of each layer; those of the last ones, which lie side by side, as copies."""
        places = [parameter.data_ptr() for parameter in self.parameters]
        if places != self._places:  # seldom: somebody has given them other memory
            layers = (self._first, *self._between)
            self._arrays = [(_numbers(layer.weights[0]), _numbers(layer.biases[0])) for layer in layers]
            self._places = places
        return [*self._arrays, (_joined(self._last.weights), _joined(self._last.biases))]


def _joined(parts: Sequence[Tensor]) -> np.ndarray:
    return _numbers(parts[0] if len(parts) == 1 else torch.cat([part.detach() for part in parts]))


def _is_known(layer: Dense) -> bool:
    whole = len(layer.linears) == 1 and len(layer.biases) == 1 and len(layer.weights[0]) % LANES == 0
    return whole and layer.activation == RELU


def _is_last(layer: Dense) -> bool:
    outputs = sum(len(weight) for weight in layer.weights)
    return layer.activation is None and len(layer.biases) == len(layer.weights) and outputs <= FEW


def _product(x: Tensor, y: Tensor) -> Tensor:
    with threads_for(len(x) * y.numel()):
        return torch.mm(x, y)


def _numbers(tensor: Tensor) -> np.ndarray:
    """As the loops take them."""
    found: np.ndarray = (tensor.view(torch.int16) if tensor.dtype is torch.bfloat16 else tensor.detach()).numpy()
    return found
