"""What actors and critics read boards through: nothing, or a convolution and a linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple, Self

import numpy as np
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import Tensor, nn

from agents.networks.extractors import MinAtarCNN
from agents.speed.perceptrons import Dense, OtherNetworkError, dense_layers, fit
from agents.speed.relu_networks import PANEL
from agents.speed.sparse import LANES, is_plain, places_of

NOWHERE = np.empty((0, 3), np.int64)


class Geometry(NamedTuple):
    """How a trunk lies on boards of one shape.

    Attributes:
        places: of each cell of a board row, column and channel; empty without a convolution.
        sides: rows and columns of its maps; likewise.
    """

    places: np.ndarray = NOWHERE
    sides: tuple[int, ...] = ()


class Trunk(NamedTuple):
    """The layers of one.

    Attributes:
        convolution: with a ReLU behind it; None where boards are flattened alone.
        dense: behind that; likewise.
        channels_first: whether those of boards come before rows and columns.
    """

    convolution: nn.Conv2d | None = None
    dense: Dense | None = None
    channels_first: bool = False

    @property
    def parameters(self) -> list[Tensor]:
        """Of both layers, weights before biases."""
        if self.convolution is None or self.dense is None:
            return []
        assert self.convolution.bias is not None
        return [self.convolution.weight, self.convolution.bias, *self.dense.parameters]

    @classmethod
    def of(cls, extractor: nn.Module) -> Self:
        """The trunk that a features extractor is.

        Raises:
            OtherNetworkError: it is another one.
        """
        if type(extractor) is FlattenExtractor and type(extractor.flatten) is nn.Flatten:
            return cls()
        if type(extractor) is not MinAtarCNN or not all(type(each) is nn.Sequential for each in extractor.children()):
            raise OtherNetworkError("its features extractor is another one")
        convolution: Any
        convolution, *behind = extractor.cnn
        if [type(each) for each in (convolution, *behind)] != [nn.Conv2d, nn.ReLU, nn.Flatten]:
            raise OtherNetworkError("its convolution is another one")
        dense, *more = dense_layers(extractor.linear)
        how = convolution.stride, convolution.padding, convolution.dilation, convolution.groups
        known = is_plain(how, {}) and len(convolution.weight) % LANES == 0
        whole = fit([dense]) and convolution.bias is not None and len(convolution.bias) == len(convolution.weight)
        if more or not known or not whole or dense.linears[0].in_features % PANEL:
            raise OtherNetworkError("its layers have other sizes")
        return cls(convolution, dense, not extractor._permute)

    def on(self, shape: Sequence[int], inputs: int) -> Geometry | None:
        """How it lies on boards of this shape; None where it does not.

        Args:
            shape: of a board.
            inputs: that actor and critic read.
        """
        if self.convolution is None or self.dense is None:
            return Geometry() if prod(shape) == inputs else None
        if len(shape) != 3:
            return None
        filters, channels, *kernel = self.convolution.weight.shape
        first, *sides = shape if self.channels_first else (shape[2], *shape[:2])
        found = tuple([side - size + 1 for side, size in zip(sides, kernel, strict=True)])
        if first != channels or min(found) < 1 or filters * prod(found) != self.dense.linears[0].in_features:
            return None
        return Geometry(places_of("first" if self.channels_first else "last", channels, *sides), found)
