"""Policies with layer normalisation: SB3's on-policy ones with a `LayerNorm` behind every hidden layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    BaseModel,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from agents.sb3_units.extractors import KNOWN


class LayerNormPolicy(ActorCriticPolicy):
    """SB3's on-policy policy with layer normalisation before every hidden activation (Lyle et al., arXiv 2402.18762).

    A `LayerNorm` with gain and bias follows every hidden Linear and Conv2d, in the features extractors and in the MLPs;
    a convolution's is over (channels, height, width). Output layers have none, nor have the trunk convolutions of
    `agents.networks.ImpalaCNN`, which no activation follows.

    Raises:
        ValueError: the features extractor is not one of `agents.sb3_units.extractors.KNOWN`.
    """

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """SB3's, with normalisations."""
        extractor = super().make_features_extractor()
        if type(extractor) not in KNOWN:
            raise ValueError(
                f"{type(self).__name__}: the features extractor {type(extractor).__name__} is not understood; "
                f"give one of {', '.join(kind.__name__ for kind in KNOWN)}"
            )
        observations = _zeros(self.observation_space)
        insert_layer_norms(extractor, lambda: BaseModel.extract_features(self, observations, extractor))
        return extractor

    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()
        insert_layer_norms(self.mlp_extractor)


class LayerNormCnnPolicy(LayerNormPolicy, ActorCriticCnnPolicy):
    """`LayerNormPolicy` for images: with SB3's NatureCNN where no features extractor is given."""


class LayerNormMultiInputPolicy(LayerNormPolicy, MultiInputActorCriticPolicy):
    """`LayerNormPolicy` for dict observations: with SB3's CombinedExtractor where no features extractor is given."""


POLICIES: dict[str, type[LayerNormPolicy]] = {
    "LayerNormMlpPolicy": LayerNormPolicy,
    "LayerNormCnnPolicy": LayerNormCnnPolicy,
    "LayerNormMultiInputPolicy": LayerNormMultiInputPolicy,
}


def insert_layer_norms(module: nn.Module, forward: Callable[[], object] | None = None) -> None:
    """Put a `LayerNorm` behind every Linear and Conv2d that stands in a `nn.Sequential`, in place.

    Args:
        module: where to look for sequences, itself included.
        forward: runs the module once; needed where it has convolutions, whose maps' sizes are found so.
    """
    sequences = [found for found in module.modules() if type(found) is nn.Sequential]
    convolutions = [layer for sequence in sequences for layer in sequence if isinstance(layer, nn.Conv2d)]
    shapes: dict[nn.Module, torch.Size] = {}

    def note(convolution: nn.Module, _: object, maps: torch.Tensor) -> None:
        shapes[convolution] = maps.shape[1:]

    if forward is not None:
        handles = [convolution.register_forward_hook(note) for convolution in convolutions]
        with torch.no_grad():
            forward()
        for handle in handles:
            handle.remove()
    for sequence in sequences:
        for index, layer in reversed(list(enumerate(sequence))):
            if isinstance(layer, nn.Linear | nn.Conv2d):
                shape = shapes[layer] if isinstance(layer, nn.Conv2d) else [layer.out_features]
                sequence.insert(index + 1, nn.LayerNorm(list(shape), device=layer.weight.device))


def _zeros(space: spaces.Space[Any]) -> Any:
    """One observation of zeros, as SB3's preprocessing takes it."""
    if isinstance(space, spaces.Dict):
        return {key: _zeros(part) for key, part in space.spaces.items()}
    return torch.zeros((1, *(space.shape or ())))
