"""Re-initialise units in place: the one implementation for every criterion.

Parameters keep their identity, so optimizers and targets go on holding them. Biases absorb what is asked of them while
the old weights are there; then all incoming rows of all layers are redrawn before any outgoing column is zeroed,
because a column of a redrawn row must end as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from agents.plasticity.units import UnitLayer

FIRST_MOMENTS = ("exp_avg", "momentum_buffer", "grad_avg", "max_exp_avg_sq")
SECOND_MOMENTS = ("exp_avg_sq", "square_avg", "exp_inf", "sum", "acc_delta")


def may_branch(device: torch.device) -> bool:
    """Whether Python may look at a tensor's value on this device: elsewhere that would wait for the device."""
    return device.type == "cpu"


@torch.no_grad()
def reset_units(
    layers: Sequence[UnitLayer],
    masks: Mapping[str, Tensor],
    optimizers: Iterable[torch.optim.Optimizer],
    generator_for: Callable[[UnitLayer], torch.Generator],
    means: Mapping[str, Tensor] | None = None,
) -> None:
    """Give the masked units new incoming weights and no outgoing ones.

    A unit whose activation is exactly zero everywhere is replaced without changing the network's outputs by a bit.

    Args:
        layers: the layers to work on; every weight that consumes their units is known to them.
        masks: layer's name -> bool tensor of shape (units,), true where a unit is to be replaced.
        optimizers: their state of the changed entries is made new: first moments 0, second moments the mean over
            the tensor's unchanged entries (over all, where none is left), the step count as it was. (A second moment
            of 0 would give the new weights steps of three to seven times the learning rate.)
        generator_for: a CPU generator for a layer's new weights. Drawing on the CPU gives every device the same.
        means: layer's name -> mean activation of each unit, (units,) or (units, positions) where a flattened
            convolution is read: the consumers' biases absorb what the units contributed on average, so that a unit
            of constant activation is replaced without changing the outputs. None: it is lost.
    """
    touched: dict[Tensor, Tensor] = {}

    def touch(parameter: Tensor, mask: Tensor) -> None:
        touched[parameter] = touched[parameter] | mask if parameter in touched else mask

    if may_branch(layers[0].producer.weight.device):
        layers = [layer for layer in layers if masks[layer.name].any()]
    if means is not None:
        for layer in layers:
            for consumer in layer.consumers:
                consumer.absorb(masks[layer.name], means[layer.name])
    for layer in layers:
        mask, producer = masks[layer.name], layer.producer
        weight, bias = layer.init.draw(producer, generator_for(layer))
        rows = mask.view(-1, *[1] * (weight.dim() - 1))
        producer.weight.copy_(torch.where(rows, weight.to(producer.weight.device, non_blocking=True), producer.weight))
        touch(producer.weight, rows)
        if producer.bias is not None and bias is not None:
            producer.bias.copy_(torch.where(mask, bias.to(producer.bias.device, non_blocking=True), producer.bias))
            touch(producer.bias, mask)
        for tensor, value in layer.constants:
            rows = mask.view(-1, *[1] * (tensor.dim() - 1))
            tensor.masked_fill_(rows, value)
            touch(tensor, rows)
    for layer in layers:
        for consumer in layer.consumers:
            piece, columns = consumer.columns(masks[layer.name])
            piece.masked_fill_(columns, 0)
            whole = torch.zeros(1, consumer.weight.shape[1], dtype=torch.bool, device=columns.device)
            whole[:, consumer.start : consumer.start + columns.shape[1]] = columns.flatten()
            touch(consumer.weight, whole.view(1, -1, *[1] * (piece.dim() - 2)))
    for optimizer in optimizers:
        for parameter, mask in touched.items():
            if parameter in optimizer.state:
                _renew_moments(optimizer.state[parameter], mask.expand_as(parameter))


def _renew_moments(state: dict[str, Tensor], mask: Tensor) -> None:
    """First moments of the masked entries become 0, second moments the mean over the unmasked ones."""
    for key in FIRST_MOMENTS:
        moment = state.get(key)
        if moment is not None:
            moment.masked_fill_(mask, 0)
    for key in SECOND_MOMENTS:
        moment = state.get(key)
        if moment is not None:
            kept = ~mask
            mean = torch.where(kept.any(), (moment * kept).sum() / kept.sum(), moment.mean())
            moment.copy_(torch.where(mask, mean, moment))
