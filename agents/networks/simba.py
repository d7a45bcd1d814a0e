"""SimBa: residual blocks in the place of hidden layers (Lee et al., arXiv 2410.09754)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from agents.plasticity.layers import fold_of
from agents.plasticity.units import HeNormal, Init, Orthogonal

EXPANSION = 4  # hidden units of a block for each value of the stream
EMBEDDING: Init = Orthogonal(1.0)
INNER: Init = HeNormal()


class SimbaBlock(nn.Module):
    """x + W2 phi(W1 norm(x)): what a hidden layer of 4 units for each value of the stream x makes of it is added.

    Its hidden units are read by W2 alone, so that one can be replaced and the stream stays. The stream's own values are
    carried past all weights, and are no units that could be.

    Args:
        width: of the stream.
        activation: phi, which may fold.
        norm: makes the normalisation of that many values.
        behind: modules behind the activation.
    """

    def __init__(
        self, width: int, activation: nn.Module, norm: Callable[[int], nn.Module], behind: Sequence[nn.Module] = ()
    ) -> None:
        super().__init__()
        self.norm = norm(width)
        self.inner = nn.Sequential(nn.Linear(width, EXPANSION * width), activation, *behind)
        self.outer = nn.Linear(fold_of(activation) * EXPANSION * width, width)

    def forward(self, stream: Tensor) -> Tensor:
        """(batch, width) -> (batch, width)."""
        added: Tensor = self.outer(self.inner(self.norm(stream)))
        return stream + added


def simba(
    embedding: nn.Linear,
    hidden: Sequence[nn.Module],
    norm: Callable[[int], nn.Module],
    behind: Callable[[], Sequence[nn.Module]],
) -> list[nn.Module]:
    """A linear embedding, a block for each hidden layer, and a last normalisation, drawn as published.

    Args:
        embedding: makes the stream of what comes in.
        hidden: the activation function of each block.
        norm: makes a normalisation of that many values.
        behind: makes what stands behind an activation function.
    """
    width = embedding.out_features
    blocks = [SimbaBlock(width, activation, norm, behind()) for activation in hidden]
    found = [embedding, *blocks, norm(width)]
    initialize(found)
    return [module.to(embedding.weight.device) for module in found]


@torch.no_grad()
def initialize(modules: Sequence[nn.Module]) -> None:
    """Draw the linear layers of SimBa anew, from torch's global generator; other modules stay.

    The embedding is orthogonal, the blocks' layers are He's (published: their normal distribution is cut off at two
    standard deviations, which torch's is not), biases are zero.
    """
    for layer, init in _drawn(modules):
        weight, bias = init.draw(layer, torch.default_generator)
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)


def _drawn(modules: Sequence[nn.Module]) -> Iterator[tuple[nn.Linear, Init]]:
    for module in modules:
        if isinstance(module, SimbaBlock):
            yield from ((each, INNER) for each in module.modules() if isinstance(each, nn.Linear))
        elif isinstance(module, nn.Linear):
            yield module, EMBEDDING
