"""Measures of plasticity: pure functions of activations, weights and gradients, and one call that takes them all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from agents.plasticity.criteria import normalized, redo
from agents.plasticity.protocols import Learner
from agents.plasticity.taps import Taps

PROBE = 512
DORMANT = 0.025


def dormant_ratio(activations: Sequence[Tensor], tau: float = DORMANT) -> Tensor:
    """Share of hidden units whose mean absolute activation is at most tau times their layer's mean (arXiv 2302.12902).

    Args:
        activations: one tensor per hidden layer, (batch, units) or (batch, channels, height, width); the share is
            over the units of all layers together.
        tau: threshold on the layer-normalised score.
    """
    dormant = torch.cat([normalized(redo(a)) <= tau for a in activations])
    ratio: Tensor = dormant.float().mean()
    return ratio


def effective_rank(features: Tensor) -> Tensor:
    """exp of the entropy of the singular values over their sum (Roy & Vetterli, 2007); 0 where all features are zero.

    Args:
        features: (batch, units), not centred; further axes are flattened. At least twice as many samples as units.
    """
    matrix = features.flatten(1).double()
    # The eigenvalues of the smaller Gram matrix are the squared singular values, and eigvalsh always converges.
    gram = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
    singular = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    share = singular / singular.sum().clamp(min=torch.finfo(singular.dtype).tiny)
    rank: Tensor = torch.where(singular.sum() > 0, torch.special.entr(share).sum().exp(), 0.0)
    return rank


def weight_norm(parameters: Iterable[Tensor]) -> Tensor:
    """Root of the mean square of all entries."""
    flat = torch.cat([parameter.detach().flatten() for parameter in parameters])
    return flat.square().mean().sqrt()


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """Euclidean norm of all entries together."""
    total: Tensor = torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors]).norm()
    return total


def measure(learner: Learner, generator: torch.Generator) -> dict[str, float]:
    """Every measure of every network, as ``plasticity/<network>/<measure>``, on 512 transitions of the data at hand.

    Measures: ``dormant_ratio`` (tau 0.025, all hidden layers), ``effective_rank`` (last hidden layer), ``weight_norm``
    and ``grad_norm`` (gradient of the RL loss on the probe). Draws from `generator` alone and changes nothing: neither
    the parameters nor their ``.grad``. One forward, one backward, one transfer to the host.
    """
    batch = learner.sample(PROBE, generator)
    networks = learner.networks
    layers = [layer for network in networks.values() for layer in network.layers]
    parameters = [parameter for network in networks.values() for parameter in network.parameters]
    with torch.enable_grad(), Taps(layers) as taps:
        loss = learner.losses(batch)["loss"]
    gradients = dict(
        zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True), strict=True)
    )
    values = {}
    for name, network in networks.items():
        activations = [taps.activations[layer.name] for layer in network.layers]
        values[f"plasticity/{name}/dormant_ratio"] = dormant_ratio(activations)
        values[f"plasticity/{name}/effective_rank"] = effective_rank(activations[-1])
        values[f"plasticity/{name}/weight_norm"] = weight_norm(network.parameters)
        values[f"plasticity/{name}/grad_norm"] = norm(gradients[parameter] for parameter in network.parameters)
    numbers = torch.stack([value.double() for value in values.values()]).tolist()
    return dict(zip(values, numbers, strict=True))
