"""What a batch shows of a learner's networks: activations, gradients, losses and outputs, without training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from agents.plasticity.protocols import Learner
from agents.plasticity.taps import Taps
from agents.plasticity.units import UnitLayer


@dataclass(frozen=True)
class Look:
    """One forward and one backward of each loss on a batch of B transitions; all tensors are detached.

    Attributes:
        activations: layer's name -> (B, units) or (B, channels, height, width).
        gradients: layer's name -> gradient of the mean loss that trains the layer's network; zero where none arrives.
        parameter_gradients: parameter -> gradient of the mean loss that trains its network.
        losses: network's name -> (B,).
        outputs: output network's name -> (B, outputs); empty where they were not asked for.
        td_targets: what the losses are taken against (see `Learner.td_targets`).
    """

    activations: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    parameter_gradients: Mapping[nn.Parameter, Tensor]
    losses: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    td_targets: Any

    def weight_gradient(self, layer: UnitLayer) -> Tensor:
        """Gradient of the layer's incoming weights."""
        weight = layer.producer.weight
        assert isinstance(weight, nn.Parameter)
        return self.parameter_gradients[weight]


def total(losses: Mapping[str, Tensor], networks: Collection[str] | None = None) -> Tensor:
    """Sum of the distinct losses of these networks, or of all, (B,): networks may share one tensor."""
    chosen = [loss for name, loss in losses.items() if networks is None or name in networks]
    return torch.stack(list({id(loss): loss for loss in chosen}.values())).sum(0)


def layers_of(learner: Learner) -> list[UnitLayer]:
    """All layers of all networks."""
    return [layer for network in learner.networks.values() for layer in network.layers]


@torch.enable_grad()
def look(learner: Learner, batch: Any, *, outputs: bool = True) -> Look:
    """Look at all networks; parameters and their ``.grad`` stay as they are.

    Args:
        learner: whose networks they are.
        batch: of B transitions.
        outputs: also take the outputs, which costs another forward.
    """
    layers, networks = layers_of(learner), learner.networks
    td_targets = learner.td_targets(batch)
    with Taps(layers) as taps:
        losses = learner.sample_losses(batch, td_targets)
    of_loss: dict[int, list[str]] = {}
    for name, loss in losses.items():
        of_loss.setdefault(id(loss), []).append(name)
    gradients: dict[str, Tensor] = {}
    parameter_gradients: dict[nn.Parameter, Tensor] = {}
    for names in of_loss.values():
        seen = [layer for layer in layers if layer.network in names]
        parameters = [parameter for name in names for parameter in networks[name].parameters]
        at_units, at_parameters = _gradients(losses[names[0]].mean(), taps, seen, parameters)
        gradients.update(at_units)
        parameter_gradients.update(zip(parameters, at_parameters, strict=True))
    with torch.no_grad():
        found_outputs = learner.outputs(batch) if outputs else {}
    # Networks that share a loss go on sharing a tensor.
    detached = {id(loss): loss.detach() for loss in losses.values()}
    return Look(
        activations=taps.activations,
        gradients=gradients,
        parameter_gradients=parameter_gradients,
        losses={name: detached[id(loss)] for name, loss in losses.items()},
        outputs={name: output.detach() for name, output in found_outputs.items()},
        td_targets=td_targets,
    )


@torch.enable_grad()
def output_gradients(
    learner: Learner, batch: Any, layers: Sequence[UnitLayer]
) -> tuple[dict[str, Tensor], list[list[dict[str, Tensor]]]]:
    """Activations, and how sensitive the outputs are to them.

    Returns:
        layer's name -> activations, and for each output network, for each of its outputs f: layer's name -> gradient
        of the batch's mean f, and under the layer's name with ``.weight`` that of its incoming weights.
    """
    with Taps(layers) as taps:
        outputs = learner.outputs(batch)
    weights = [layer.producer.weight for layer in layers]
    columns = [(network, column) for network, output in outputs.items() for column in output.mean(0)]
    found: dict[str, list[dict[str, Tensor]]] = {}
    for number, (network, column) in enumerate(columns):
        gradients, at_weights = _gradients(column, taps, layers, weights, keep_graph=number + 1 < len(columns))
        gradients.update((f"{layer.name}.weight", g) for layer, g in zip(layers, at_weights, strict=True))
        found.setdefault(network, []).append(gradients)
    return taps.activations, list(found.values())


def _gradients(
    value: Tensor, taps: Taps, layers: Sequence[UnitLayer], weights: Sequence[Tensor], *, keep_graph: bool = True
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Gradients of a scalar with respect to each layer's units, by its name, and to each weight.

    They are zero for what it does not depend on, and for what takes no gradient.
    """
    roots = [root for layer in layers for root in taps.roots(layer.name)]
    found = iter(_of_tensors(value, [*roots, *weights], keep_graph))
    at_units = {
        layer.name: taps.gradient(layer.name, [next(found) for _ in taps.roots(layer.name)]) for layer in layers
    }
    return at_units, list(found)


def _of_tensors(value: Tensor, inputs: Sequence[Tensor], keep_graph: bool) -> list[Tensor]:
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    if not value.requires_grad or not wanted:
        return [torch.zeros_like(tensor) for tensor in inputs]
    found = iter(torch.autograd.grad(value, wanted, retain_graph=keep_graph, allow_unused=True, materialize_grads=True))
    return [next(found) if tensor.requires_grad else torch.zeros_like(tensor) for tensor in inputs]
