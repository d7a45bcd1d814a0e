"""Re-initialise units in place: the one implementation for every criterion.

Parameters keep their identity, so optimizers and targets go on holding them. Biases absorb what is asked of them while
the old weights are there; then all incoming rows of all layers are redrawn before any outgoing column is zeroed,
because a column of a redrawn row must end as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from agents.plasticity.moments import renew_moments
from agents.plasticity.units import Consumer, UnitLayer
from agents.plasticity.validation import check


def may_branch(device: torch.device) -> bool:
    """Whether Python may look at a tensor's value on this device: elsewhere that would wait for the device."""
    return device.type == "cpu"


@dataclass(frozen=True)
class Surgery:
    """What becomes of a unit that is replaced.

    Args:
        outgoing: its outgoing weights become ``zero``; ``small_random``, so that it earns gradient at once; or they are
            kept, as in GraMa's released code.
        compensate: the consumers' biases absorb the unit's mean activation, so that only its variation is lost.
        biases: its bias and normalisation parameters are made new (``renew``) or kept.
        moments: the optimizer's moments of the changed weights are made new or kept.
        targets: target networks are left alone, take over the changed rows and columns (``sync``), or become whole
            copies where units of a network that has one are replaced (``copy``).
        scale: standard deviation of small random weights, over that of the consumer's weights.
    """

    outgoing: Literal["zero", "small_random", "keep"] = "zero"
    compensate: bool = False
    biases: Literal["renew", "keep"] = "renew"
    moments: Literal["renew", "keep"] = "renew"
    targets: Literal["leave", "sync", "copy"] = "leave"
    scale: float = 0.05

    def __post_init__(self) -> None:
        choices = {
            "outgoing": ("zero", "small_random", "keep"),
            "biases": ("renew", "keep"),
            "moments": ("renew", "keep"),
            "targets": ("leave", "sync", "copy"),
        }
        for key, known in choices.items():
            value = getattr(self, key)
            check(key, value, value in known, f"one of {', '.join(known)}")
        check("scale", self.scale, self.scale > 0, "a number above 0")
        if self.compensate and self.outgoing == "keep":
            raise ValueError("compensate is True, but with outgoing 'keep' nothing is lost; give outgoing 'zero'")

    @classmethod
    def of(cls, spec: Mapping[str, Any] | None) -> Surgery:
        """Build it from a mapping of its arguments.

        Raises:
            ValueError: an argument is unknown or impossible; the message begins with ``surgery.``.
        """
        try:
            return cls(**(spec or {}))
        except TypeError as error:
            raise ValueError(f"surgery does not take these arguments: {error}") from error
        except ValueError as error:
            raise ValueError(f"surgery.{error}") from error

    def arguments(self) -> dict[str, Any]:
        """Plain data that builds it again."""
        return asdict(self)

    def writes(self, layer: UnitLayer) -> list[Tensor]:
        """The parameters that it changes where units of a layer are replaced."""
        changed: list[Tensor | None] = [layer.producer.weight]
        if self.biases == "renew":
            # Running statistics are no parameters: who freezes a normalisation freezes its weight.
            changed += [layer.producer.bias, *(t for t, _ in layer.constants if isinstance(t, nn.Parameter))]
        if self.outgoing != "keep":
            changed += [consumer.weight for consumer in layer.consumers]
        if self.compensate:
            changed += [consumer.bias for consumer in layer.consumers]
        return [tensor for tensor in changed if tensor is not None]


@torch.no_grad()
def reset_units(
    layers: Sequence[UnitLayer],
    amounts: Mapping[str, Tensor],
    optimizers: Iterable[torch.optim.Optimizer],
    generator_for: Callable[[UnitLayer], torch.Generator],
    surgery: Surgery | None = None,
    means: Mapping[str, Tensor] | None = None,
    targets: Mapping[Tensor, Tensor] | None = None,
    readers: Iterable[UnitLayer] = (),
) -> None:
    """Replace units, wholly or in part.

    With outgoing weights of zero, a unit whose activation is exactly zero everywhere is replaced without changing the
    network's outputs by a bit. An amount p between 0 and 1 mixes: W_in becomes (1-p) W_in + p fresh, and W_out becomes
    (1-p) W_out (plus p times small random weights, where these are asked for).

    Args:
        layers: the layers to work on; every weight that consumes their units is known to them.
        amounts: layer's name -> float tensor of shape (units,): 0 for a unit that stays, 1 for one that is replaced.
        optimizers: their state of the changed entries is made new (see `agents.plasticity.moments`).
        generator_for: a CPU generator for a layer's new weights. Drawing on the CPU gives every device the same.
        surgery: what becomes of the units; None for the defaults.
        means: layer's name -> mean activation of each unit, (units,) or (units, positions) where a flattened
            convolution is read; needed where the surgery compensates.
        targets: parameter -> target parameter; needed where the surgery does not leave targets alone.
        readers: hidden layers whose weights for a layer of which all units are replaced at once are drawn as they were
            initialised: what reads nothing but zeros, through biases that are not positive, would never learn.
            Not where outgoing weights are kept.
    """
    surgery = surgery or Surgery()
    if layers and may_branch(layers[0].producer.weight.device):
        layers = [layer for layer in layers if (amounts[layer.name] > 0).any()]
    twins = {} if surgery.targets == "leave" else dict(targets or {})
    touched = _Touched()
    if surgery.compensate:
        assert means is not None
        for layer in layers:
            _compensate(layer, amounts[layer.name], means[layer.name], twins)
    generators = {layer.name: generator_for(layer) for layer in layers}
    for layer in layers:
        _redraw_incoming(layer, amounts[layer.name], generators[layer.name], surgery, touched)
    if surgery.outgoing != "keep":
        for layer in layers:
            noise = generators[layer.name] if surgery.outgoing == "small_random" else None
            for consumer in layer.consumers:
                _shrink_outgoing(consumer, amounts[layer.name], noise, surgery.scale, touched)
                for frozen in consumer.frozen:
                    _shrink_outgoing(frozen, amounts[layer.name], None, surgery.scale, touched)
        reading = {reader.producer.weight: reader for reader in readers}
        for layer in layers:
            for consumer in layer.consumers:
                if consumer.weight in reading:
                    _redraw_outgoing(consumer, amounts[layer.name], reading[consumer.weight], generators[layer.name])
    for tensor, mask in touched.items():
        if tensor in twins:
            twins[tensor].copy_(torch.where(mask, tensor, twins[tensor]))
    followed = [amounts[layer.name] for layer in layers if layer.producer.weight in twins]
    if surgery.targets == "copy" and followed:
        replaced = (torch.cat(followed) > 0).any()
        for tensor, twin in twins.items():
            twin.copy_(torch.where(replaced, tensor, twin))
    if surgery.moments == "renew":
        renew_moments(optimizers, touched)


class _Touched(dict[Tensor, Tensor]):
    """Tensor -> which of its entries were changed, broadcastable to it."""

    def add(self, tensor: Tensor, mask: Tensor) -> None:
        self[tensor] = self[tensor] | mask if tensor in self else mask


def _compensate(layer: UnitLayer, amounts: Tensor, means: Tensor, twins: Mapping[Tensor, Tensor]) -> None:
    for consumer in layer.readers:
        consumer.absorb(amounts, means)
        if consumer.weight in twins:
            bias = None if consumer.bias is None else twins[consumer.bias]
            replace(consumer, weight=twins[consumer.weight], bias=bias).absorb(amounts, means)


def _redraw_incoming(
    layer: UnitLayer, amounts: Tensor, generator: torch.Generator, surgery: Surgery, touched: _Touched
) -> None:
    producer = layer.producer
    weight, bias = layer.init.draw(producer, generator)
    _mix(producer.weight, weight, amounts, touched)
    if surgery.biases == "renew":
        if producer.bias is not None and bias is not None:
            _mix(producer.bias, bias, amounts, touched)
        for tensor, value in layer.constants:
            _mix(tensor, torch.full((), value, dtype=tensor.dtype), amounts, touched)


def _mix(tensor: Tensor, fresh: Tensor, amounts: Tensor, touched: _Touched) -> None:
    """Rows of `tensor` become (1-p) of themselves and p of the fresh ones; whole ones are copied, not computed."""
    rows = amounts.to(tensor.dtype).view(-1, *[1] * (tensor.dim() - 1))
    fresh = fresh.to(tensor.device, non_blocking=True)
    mixed = torch.where(rows > 0, tensor.lerp(fresh.expand_as(tensor), rows), tensor)
    tensor.copy_(torch.where(rows >= 1, fresh, mixed))
    touched.add(tensor, rows > 0)


def _shrink_outgoing(
    consumer: Consumer, amounts: Tensor, noise: torch.Generator | None, scale: float, touched: _Touched
) -> None:
    piece, columns = consumer.columns(amounts.to(consumer.weight.dtype))
    new = torch.where(columns >= 1, 0, piece * (1 - columns))
    if noise is not None:
        drawn = torch.randn(piece.shape, generator=noise, dtype=piece.dtype)
        # Over the whole weight, because the unit's own columns may have died, or be what is not finite.
        deviation = consumer.weight.nan_to_num(0.0, 0.0, 0.0).square().mean().sqrt()
        new = new + columns * scale * deviation * drawn.to(piece.device, non_blocking=True)
    piece.copy_(torch.where(columns > 0, new, piece))
    whole = torch.zeros(1, consumer.weight.shape[1], dtype=torch.bool, device=columns.device)
    whole[:, consumer.start : consumer.start + columns.shape[1]] = columns.flatten() > 0
    touched.add(consumer.weight, whole.view(1, -1, *[1] * (piece.dim() - 2)))


def _redraw_outgoing(consumer: Consumer, amounts: Tensor, reader: UnitLayer, generator: torch.Generator) -> None:
    """What a hidden layer reads a layer by that is new as a whole becomes new, too; that it is touched is known."""
    whole = (amounts >= 1).all()
    if may_branch(whole.device) and not whole:
        return
    weight, _ = reader.init.draw(reader.producer, generator)
    piece, _ = consumer.columns(amounts)
    fresh, _ = replace(consumer, weight=weight.to(piece.device, non_blocking=True)).columns(amounts)
    piece.copy_(torch.where(whole, fresh, piece))
