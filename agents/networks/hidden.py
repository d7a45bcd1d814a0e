"""What stands in and around hidden layers, and how it is put there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from agents.networks.simba import simba
from agents.networks.spec import Norm, Trunk
from agents.plasticity.layers import fold_of

EPS = 1e-5  # of torch's LayerNorm; its RMSNorm would take the machine's, by which silent layers get huge gradients
NORMS: Mapping[Norm, Callable[..., nn.Module]] = {"layer": nn.LayerNorm, "rms": partial(nn.RMSNorm, eps=EPS)}


@dataclass(frozen=True)
class Hidden:
    """What stands in and around hidden layers.

    Attributes:
        norm: makes what stands before the activation function; None for nothing.
        dropout: share of the values behind the activation function of a linear layer that training puts to 0.
        trunk: how the layers behind the features are connected.
    """

    norm: Callable[..., nn.Module] | None = None
    dropout: float = 0.0
    trunk: Trunk = "mlp"

    def behind(self) -> list[nn.Module]:
        """What stands behind the activation function of a linear layer."""
        return [nn.Dropout(self.dropout)] if self.dropout else []


def shaped(layers: Iterable[nn.Module], hidden: Hidden, *, output: bool) -> nn.Sequential:
    """SB3's layers with all that belongs to hidden ones.

    Args:
        layers: Linear layers, each but the output layer with its activation function behind it.
        hidden: what that is.
        output: the last Linear is the output layer, and not hidden; a squashing may follow it.
    """
    layers = list(layers)
    end = len(layers)
    if output:
        end = max(index for index, layer in enumerate(layers) if isinstance(layer, nn.Linear))
    inner, outer = layers[:end], layers[end:]
    if hidden.trunk == "simba" and inner:
        return nn.Sequential(*_residual(inner, hidden), *outer)
    found: list[nn.Module] = []
    fold = 1
    for layer, activation in zip(inner[::2], inner[1::2], strict=True):
        norms = [] if hidden.norm is None else [hidden.norm(layer.out_features, device=layer.weight.device)]
        found += [wider(layer, fold), *norms, activation, *hidden.behind()]
        fold = fold_of(activation)
    return nn.Sequential(*found, *(wider(layer, fold) if isinstance(layer, nn.Linear) else layer for layer in outer))


def _residual(layers: Sequence[Any], hidden: Hidden) -> list[nn.Module]:
    """SimBa's layers in the place of these.

    Raises:
        ValueError: they are not all of one width.
    """
    widths = [layer.out_features for layer in layers[::2]]
    if len(set(widths)) > 1:
        raise ValueError(
            f"network is 'simba', but the hidden layers are {widths} wide, and a network's blocks share one stream; "
            f"give each the same width, such as {[max(widths)] * len(widths)}"
        )
    return simba(layers[0], layers[1::2], hidden.norm or nn.LayerNorm, hidden.behind)


def wider(layer: Any, fold: int) -> Any:
    """A Linear layer with `fold` times as many inputs; the layer itself where that is 1."""
    if fold == 1:
        return layer
    return nn.Linear(fold * layer.in_features, layer.out_features, layer.bias is not None, layer.weight.device)


def fill(extractor: nn.Module, hidden: Hidden, forward: Callable[[], object]) -> None:
    """Put what belongs to hidden layers around every Linear and Conv2d that stands in a `nn.Sequential`, in place.

    Args:
        extractor: where to look for sequences.
        hidden: what that is; convolutions have no dropout.
        forward: runs it once, which shows the sizes of maps.
    """
    if hidden.norm is None and not hidden.dropout:
        return
    sequences = [found for found in extractor.modules() if type(found) is nn.Sequential]
    convolutions = [layer for sequence in sequences for layer in sequence if isinstance(layer, nn.Conv2d)]
    shapes: dict[nn.Module, torch.Size] = {}

    def note(convolution: nn.Module, _: object, maps: torch.Tensor) -> None:
        shapes[convolution] = maps.shape[1:]

    handles = [convolution.register_forward_hook(note) for convolution in convolutions]
    with torch.no_grad():
        forward()
    for handle in handles:
        handle.remove()
    for sequence in sequences:
        for index, layer in reversed(list(enumerate(sequence))):
            if isinstance(layer, nn.Linear):
                for module in hidden.behind():
                    sequence.insert(index + 2, module)
            if isinstance(layer, nn.Linear | nn.Conv2d) and hidden.norm is not None:
                shape = shapes[layer] if isinstance(layer, nn.Conv2d) else [layer.out_features]
                sequence.insert(index + 1, hidden.norm(list(shape), device=layer.weight.device))
