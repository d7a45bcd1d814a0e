"""Unit graphs of features extractors of users' own, found by tracing them on observations of their space."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from agents.plasticity.units import Consumer, Init, UnitLayer, traced
from agents.plasticity.units.steps import DECLARE
from agents.plasticity.units.verifying import ROWS
from agents.sb3_units.graph import Graph, Heads

EXTRACTOR = "extractor."  # begins the paths of its modules


class _Read(nn.Module):
    """An extractor with a layer that reads its features, as those of the policy do."""

    def __init__(self, extractor: BaseFeaturesExtractor) -> None:
        super().__init__()
        self.extractor = extractor
        width = extractor.features_dim
        like = next(extractor.parameters())
        self.reader = nn.utils.skip_init(nn.Linear, width, 1, device=like.device, dtype=like.dtype)
        with torch.no_grad():  # drawn aside, so that training draws what it would have drawn
            self.reader.weight.copy_(_drawn(1, width))
            self.reader.bias.zero_()

    def forward(self, observations: Any) -> Tensor:
        read: Tensor = self.reader(self.extractor(observations))
        return read


def traced_graph(network: str, extractor: BaseFeaturesExtractor, heads: Heads, init: Init, *, above: int) -> Graph:
    """The graph of any features extractor that builds its hidden layers of Linear and Conv2d.

    The arguments are those of `extractor_graph`.

    Raises:
        ValueError: something in its forward is not understood; the message names it.
    """
    if next(extractor.parameters(), None) is None:
        return Graph()
    whole, title = _Read(extractor), type(extractor).__name__
    batch = observations(extractor._observation_space, whole.reader.weight.device)
    try:
        found = traced(whole, network, init, (batch,))
    except Exception as error:  # the code is a user's
        reason = _reason(error, network).replace(_Read.__name__, title)
        raise ValueError(f"{network}: the features extractor {title} is not understood: {reason}") from error

    def of_policy(layer: UnitLayer) -> UnitLayer:
        consumers: list[Consumer] = []
        for consumer in layer.consumers:
            if consumer.module is not whole.reader:
                consumers.append(consumer)
                continue
            consumers += [
                replace(consumer, weight=head.weight, bias=head.bias, start=column + consumer.start, module=head)
                for head, column in heads
            ]
        return replace(layer, consumers=tuple(consumers))

    return Graph(
        [of_policy(layer) for layer in found.layers],
        [replace(part, height=part.height - 1 + above) for part in found.parts if part.module is not whole.reader],
        {path.removeprefix(EXTRACTOR): reason for path, reason in found.fixed.items()},
        [*found.constants],
    )


def observations(space: spaces.Space[Any], device: torch.device) -> Any:
    """A batch of what an extractor is given, the same each time; of unbounded numbers small ones."""
    if isinstance(space, spaces.Dict):
        return {key: observations(part, device) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        drawn = _drawn(ROWS, *space.shape)
        low, high = (torch.from_numpy(bound).to(drawn.dtype) for bound in (space.low, space.high))
        return drawn.clamp(low, high).to(device)
    own = deepcopy(space)  # the space's generator is the user's
    own.seed(0)
    samples = np.stack([own.sample() for _ in range(ROWS)])
    return preprocess_obs(torch.as_tensor(samples, device=device), space)


def _drawn(*shape: int) -> Tensor:
    """Normal numbers, the same each time; on the CPU, also where another device is the default."""
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(0), device="cpu")


def _reason(error: Exception, network: str) -> str:
    """Without the remedy of training loops that declare their units, which a policy cannot."""
    if not isinstance(error, ValueError):
        return f"its forward raises {type(error).__name__} on {ROWS} observations ({str(error).partition(chr(10))[0]})"
    message = str(error).removeprefix(f"{network}: ").removesuffix(DECLARE).rstrip()
    return message.removesuffix(" or").rstrip(" ,;:")
