"""Features extractors that Stable-Baselines3 does not have."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from torch import nn

from agents.plasticity.layers import fold_of
from agents.speed import sparse
from agents.speed.boards import Boards
from agents.speed.perceptrons import is_hooked

BOARD_MINIMUM = 3  # height and width: the kernel of MinAtarCNN
NATURE_CNN_MINIMUM = 36  # pixels: NatureCNN's three convolutions leave nothing of smaller images


def board_channels_first(space: spaces.Box) -> bool | None:
    """Whether the channels of a board of three axes come first; None where its shape leaves that open.

    An image's come first, where SB3 puts them, but for squares with more channels than height, as of stacked frames.
    Of other boards two equal axes are height and width, in MinAtar's order (height, width, channel) where all three are
    equal; else the channels are the fewest and come last.
    """
    first, middle, last = space.shape
    if is_image_space(space):
        return not first == middle <= last
    if first == middle:
        return False
    if first < BOARD_MINIMUM or first < middle == last:
        return True
    return False if last < min(first, middle) else None


class MinAtarCNN(BaseFeaturesExtractor):
    """A 3x3 convolution of 16 filters and a linear layer of 128, both ReLU (Young & Tian, arXiv 1903.03176).

    Boards come in (height, width, channel) order, as MinAtar returns them, and are permuted here: SB3 transposes
    uint8 images only. Those arrive as (channel, height, width) and are left so, as are other boards whose shape says
    that their channels come first (see `board_channels_first`).

    Args:
        observation_space: a Box of three dimensions, height and width of at least 3.
        features_dim: width of the linear layer, in units; features are as many times more as the activation function
            has values for each.
        channels_first: the order of the axes, for boards whose shape leaves it open; None reads it from the shape.
        activation_fn: class of the activation functions; those that fold, too (`agents.plasticity.layers`).

    Raises:
        ValueError: the observation is no board of at least 3x3, or its shape leaves open which axis the channels are.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        features_dim: int = 128,
        channels_first: bool | None = None,
        activation_fn: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        if isinstance(observation_space, spaces.Box) and len(observation_space.shape) == 3 and channels_first is None:
            channels_first = board_channels_first(observation_space)
            if channels_first is None:
                raise ValueError(
                    f"the shape of {observation_space} leaves open whether its channels come first or last; give "
                    "features_extractor_kwargs={'channels_first': True} or False, or pad the boards to squares"
                )
        shape = observation_space.shape or ()
        sides = shape[1:] if channels_first else shape[:2]
        if len(shape) != 3 or min(sides) < BOARD_MINIMUM:
            raise ValueError(
                f"MinAtarCNN needs boards of shape (height, width, channel), height and width of at least 3, "
                f"not {observation_space}; vectors need an MlpPolicy"
            )
        fold = fold_of(activation_fn)
        super().__init__(observation_space, fold * features_dim)
        self._permute = not channels_first
        channels = shape[0] if channels_first else shape[2]
        positions = (sides[0] - 2) * (sides[1] - 2)
        self.cnn = nn.Sequential(nn.Conv2d(channels, 16, kernel_size=3), activation_fn(), nn.Flatten())
        self.linear = nn.Sequential(nn.Linear(fold * 16 * positions, features_dim), activation_fn())

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Float boards, (batch, height, width, channel) or channels first -> features (batch, features_dim)."""
        boards = observations.permute(0, 3, 1, 2) if self._permute else observations
        if isinstance(boards, Boards) and (found := self._of_boards(boards)) is not None:
            return found
        if not _is_plain(self.cnn):
            return self.linear(self.cnn(boards))  # type: ignore[no-any-return]
        convolution, *behind = self.cnn
        # Permuted boards make maps whose channels come last in memory. Copied at once, not where they are flattened,
        # they have gradients in their own order: otherwise the activation's backward takes twenty times as long.
        features: torch.Tensor = convolution(boards).contiguous()
        for module in (*behind, self.linear):
            features = module(features)
        return features

    def _of_boards(self, boards: Boards) -> torch.Tensor | None:
        """All layers at once, where `agents.speed` does so and nobody looks between them."""
        if not all(map(_is_plain, (self.cnn, self.linear))) or not all(map(_unhooked, (*self.cnn, *self.linear))):
            return None
        modules = [*self.cnn, *self.linear]
        if [type(module) for module in modules[:4]] != [nn.Conv2d, nn.ReLU, nn.Flatten, nn.Linear]:
            return None
        first, _, _, second, *behind = modules
        if first.bias is None or second.bias is None:
            return None
        found = sparse.features(boards, first.weight, first.bias, second.weight, second.bias)
        if found is None and (maps := sparse.rectified(boards, first.weight, first.bias)) is not None:
            found = second(maps.flatten(1))
        for module in behind if found is not None else ():
            found = module(found)
        return found


def _is_plain(sequence: nn.Module) -> bool:
    """Whether calling a module would call its own one after the other, and nothing else: no hook, nothing compiled."""
    return type(sequence) is nn.Sequential and _unhooked(sequence)


def _unhooked(module: nn.Module) -> bool:
    """Whether calling a module would call its forward, and nothing else: no hook, nothing compiled."""
    return module._compiled_call_impl is None and not is_hooked(module)


class ResidualBlock(nn.Module):
    """ReLU, 3x3 convolution, ReLU, 3x3 convolution; what comes out is added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.inner = nn.Sequential(nn.Conv2d(channels, channels, kernel_size=3, padding=1), nn.ReLU())
        self.outer = nn.Conv2d(channels, channels, kernel_size=3, padding=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps (batch, channels, height, width) -> the same shape."""
        added: torch.Tensor = self.outer(self.inner(self.relu(maps)))
        return maps + added


class ImpalaSequence(nn.Module):
    """3x3 convolution, 3x3 max pooling of stride 2, two residual blocks."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, channels, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.block1 = ResidualBlock(channels)
        self.block2 = ResidualBlock(channels)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps (batch, inputs, height, width) -> (batch, channels, height/2, width/2), sides rounded up."""
        out: torch.Tensor = self.block2(self.block1(self.pool(self.conv(maps))))
        return out


class ImpalaCNN(BaseFeaturesExtractor):
    """The residual network of IMPALA (Espeholt et al., arXiv 1802.01561, figure 3) as ProcGen uses it.

    For each of `depths` a sequence of a 3x3 convolution, 3x3 max pooling of stride 2 and two residual blocks; then
    ReLU, a linear layer and ReLU. Every ReLU is a module of its own.

    Args:
        observation_space: images, channels first, as SB3 delivers them to a policy.
        features_dim: width of the linear layer.
        depths: channels of each sequence.
        normalized_image: as in SB3's `NatureCNN`: the images may be of any type and range.

    Raises:
        ValueError: the observations are no images with the channels first, or `depths` is empty.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        features_dim: int = 256,
        depths: Sequence[int] = (16, 32, 32),
        normalized_image: bool = False,
    ) -> None:
        shape = observation_space.shape or ()
        if not is_image_space(observation_space, normalized_image=normalized_image) or shape[0] != min(shape):
            raise ValueError(
                f"ImpalaCNN needs images of shape (channel, height, width), uint8 from 0 to 255 (or any with "
                f"normalized_image=True), not {observation_space}; SB3's algorithms transpose (height, width, channel)"
            )
        if not depths or min(depths) < 1:
            raise ValueError(f"depths is {depths}; give the channels of one or more sequences, such as (16, 32, 32)")
        super().__init__(observation_space, features_dim)
        channels, height, width = shape
        sequences: OrderedDict[str, nn.Module] = OrderedDict()
        for number, depth in enumerate(depths, start=1):
            sequences[f"sequence{number}"] = ImpalaSequence(channels, depth)
            channels, height, width = depth, (height + 1) // 2, (width + 1) // 2
        self.sequences = nn.Sequential(sequences)
        self.relu = nn.ReLU()
        self.flatten = nn.Flatten()
        self.linear = nn.Sequential(nn.Linear(channels * height * width, features_dim), nn.ReLU())

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Float images, (batch, channel, height, width) -> features (batch, features_dim)."""
        features: torch.Tensor = self.linear(self.flatten(self.relu(self.sequences(observations))))
        return features


KNOWN = (FlattenExtractor, NatureCNN, MinAtarCNN, ImpalaCNN, CombinedExtractor)
"""Extractors whose layers are known, and no subclass: it may do anything in its forward."""
