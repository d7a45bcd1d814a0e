"""What a batch shows of a learner's networks: activations, gradients, losses and outputs, without training."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from agents.plasticity.protocols import Learner
from agents.plasticity.taps import Preactivation, Taps
from agents.plasticity.units import UnitLayer


class Slopes(NamedTuple):
    """Gradients of one scalar, which is a mean over the batch, at one layer; zero where none arrives.

    Attributes:
        activation: with respect to what its tap puts out; of that tensor's shape.
        preactivation: with respect to what goes into its activation function; None where that was not asked for or is
            not known.
        weight: with respect to its incoming weights.
    """

    activation: Tensor
    preactivation: Tensor | None
    weight: Tensor


@dataclass(frozen=True)
class Probed:
    """One forward and one backward of each loss on a batch of B transitions; all tensors are detached.

    Attributes:
        activations: layer's name -> (B, units) or (B, channels, height, width).
        gradients: layer's name -> gradient of the mean loss that trains the layer's network; zero where none arrives.
        preactivation_gradients: the same with respect to what goes into activation functions, of the layers of which
            that is known; empty where it was not asked for.
        parameter_gradients: parameter -> gradient of the mean loss that trains its network.
        losses: network's name -> (B,).
        outputs: output network's name -> (B, outputs); empty where they were not asked for.
        td_targets: what the losses are taken against (see `Learner.td_targets`).
    """

    activations: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    preactivation_gradients: Mapping[str, Tensor]
    parameter_gradients: Mapping[nn.Parameter, Tensor]
    losses: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    td_targets: Any

    def weight_gradient(self, layer: UnitLayer) -> Tensor:
        """Gradient of the layer's incoming weights."""
        weight = layer.producer.weight
        assert isinstance(weight, nn.Parameter)
        return self.parameter_gradients[weight]

    def slopes(self, layer: UnitLayer) -> Slopes:
        """Gradients of the mean loss that trains the layer's network."""
        inner = self.preactivation_gradients.get(layer.name)
        return Slopes(self.gradients[layer.name], inner, self.weight_gradient(layer))


def total(losses: Mapping[str, Tensor], networks: Collection[str] | None = None) -> Tensor:
    """Sum of the distinct losses of these networks, or of all, (B,): networks may share one tensor."""
    chosen = [loss for name, loss in losses.items() if networks is None or name in networks]
    return torch.stack(list({id(loss): loss for loss in chosen}.values())).sum(0)


def layers_of(learner: Learner) -> list[UnitLayer]:
    """All layers of all networks."""
    return [layer for network in learner.networks.values() for layer in network.layers]


@torch.enable_grad()
def probed(learner: Learner, batch: Any, *, outputs: bool = True, preactivations: bool = False) -> Probed:
    """Probed at all networks; parameters and their ``.grad`` stay as they are.

    Args:
        learner: whose networks they are.
        batch: of B transitions.
        outputs: also take the outputs, which costs another forward.
        preactivations: also take gradients with respect to what goes into activation functions.
    """
    layers, networks = layers_of(learner), learner.networks
    td_targets = learner.td_targets(batch)
    with Taps(layers, preactivations=preactivations) as taps:
        losses = learner.sample_losses(batch, td_targets)
    of_loss: dict[int, list[str]] = {}
    for name, loss in losses.items():
        of_loss.setdefault(id(loss), []).append(name)
    gradients: dict[str, Tensor] = {}
    inner_gradients: dict[str, Tensor] = {}
    parameter_gradients: dict[nn.Parameter, Tensor] = {}
    for names in of_loss.values():
        seen = [layer.name for layer in layers if layer.network in names]
        of_roots, inner, of_parameters = _gradients(
            losses[names[0]].mean(),
            _roots(taps, seen),
            {name: taps.preactivations[name] for name in seen if name in taps.preactivations},
            {parameter: parameter for name in names for parameter in networks[name].parameters},
        )
        gradients.update(_gathered(taps, of_roots))
        inner_gradients.update(inner)
        parameter_gradients.update(of_parameters)
    with torch.no_grad():
        found_outputs = learner.outputs(batch) if outputs else {}
    # Networks that share a loss go on sharing a tensor.
    detached = {id(loss): loss.detach() for loss in losses.values()}
    return Probed(
        activations=taps.activations,
        gradients=gradients,
        preactivation_gradients=inner_gradients,
        parameter_gradients=parameter_gradients,
        losses={name: detached[id(loss)] for name, loss in losses.items()},
        outputs={name: output.detach() for name, output in found_outputs.items()},
        td_targets=td_targets,
    )


@torch.enable_grad()
def output_gradients(
    learner: Learner, batch: Any, layers: Sequence[UnitLayer], *, preactivations: bool = False
) -> tuple[dict[str, Tensor], list[list[dict[str, Slopes]]]]:
    """Activations, and how sensitive the outputs are to them.

    Args:
        learner: whose outputs they are.
        batch: of `Learner.sample`.
        layers: that are looked at.
        preactivations: also take gradients with respect to what goes into activation functions.

    Returns:
        layer's name -> activations, and for each output network, for each of its outputs f: layer's name -> gradients
        of the batch's mean f.
    """
    with Taps(layers, preactivations=preactivations) as taps:
        outputs = learner.outputs(batch)
    roots, weights = _roots(taps, [layer.name for layer in layers]), {x.name: x.producer.weight for x in layers}
    columns = [(network, column) for network, output in outputs.items() for column in output.mean(0)]
    found: dict[str, list[dict[str, Slopes]]] = {}
    for number, (network, column) in enumerate(columns):
        last = number + 1 == len(columns)
        of_roots, inner, of_weights = _gradients(column, roots, taps.preactivations, weights, keep_graph=not last)
        of_a = _gathered(taps, of_roots)
        slopes = {
            layer.name: Slopes(of_a[layer.name], inner.get(layer.name), of_weights[layer.name]) for layer in layers
        }
        found.setdefault(network, []).append(slopes)
    return taps.activations, list(found.values())


def _roots(taps: Taps, names: Iterable[str]) -> dict[tuple[str, int], Tensor]:
    return {(name, number): root for name in names for number, root in enumerate(taps.roots(name))}


def _gathered(taps: Taps, of_roots: Mapping[tuple[str, int], Tensor]) -> dict[str, Tensor]:
    """Layer's name -> the gradient of its units."""
    names = dict.fromkeys(name for name, _ in of_roots)
    return {name: taps.gradient(name, [g for (owner, _), g in of_roots.items() if owner == name]) for name in names}


def _gradients(
    value: Tensor, *groups: Mapping[Any, Tensor | Preactivation], keep_graph: bool = True
) -> list[dict[Any, Tensor]]:
    """Gradients of a scalar, by the same keys; zero for what it does not depend on, and for what takes no gradient."""
    inputs = [one for group in groups for one in group.values()]
    edges = [one.edge if isinstance(one, Preactivation) else one if one.requires_grad else None for one in inputs]
    wanted: list[Any] = [edge for edge in edges if edge is not None] if value.requires_grad else []
    found = iter(torch.autograd.grad(value, wanted, retain_graph=keep_graph, allow_unused=True) if wanted else ())
    gradients = (None if edge is None or not wanted else next(found) for edge in edges)
    return [
        {key: _zeros(value, one) if (gradient := next(gradients)) is None else gradient for key, one in group.items()}
        for group in groups
    ]


def _zeros(value: Tensor, one: Tensor | Preactivation) -> Tensor:
    return value.new_zeros(one.shape) if isinstance(one, Preactivation) else torch.zeros_like(one)
