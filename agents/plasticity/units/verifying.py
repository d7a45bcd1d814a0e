"""Compares a traced unit graph with what changing units really changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, fx, nn

from agents.plasticity.units.graph import Consumer, Network, UnitLayer
from agents.plasticity.units.steps import DECLARE, Inputs, tensors_in, undisturbed

ROWS = 32  # of a batch that are changed and compared: enough for the codes of 65,536 units


@torch.no_grad()
def verify(network: Network, module: nn.Module, sources: Mapping[str, nn.Module], inputs: Inputs) -> None:
    """Change units behind the last module that gives each a row of its own, and look at what all layers take in.

    All other layers go on putting out what they did before, so that a change reaches direct readers alone: these must
    be the consumers, each unit at its own columns, and the outputs must stay. Units are told apart by codes: each row
    of the batch changes those whose number has a certain bit, or has it not.

    Args:
        network: the graph.
        module: whose forward it describes.
        sources: layer's name -> that last module.
        inputs: of the forward.

    Raises:
        ValueError: something else changes.
    """
    producers = [p.module for p in network.parts if isinstance(p.module, nn.Linear | nn.Conv2d)]
    others = [*sources.values()]
    with undisturbed(module):
        try:
            run = _Run(network.name, module, _first_rows(inputs), producers, others)
        except Exception:  # the code is a user's, and may know its batch size
            run = _Run(network.name, module, inputs, producers, others)
        for layer in network.layers:
            _verify_layer(layer, run, sources[layer.name])


class _Run:
    """Passes of a module in which its layers put out what they did in the first one.

    Attributes:
        taken: layer -> what it took in, in the first pass: the first rows.
        given: layer, or another module of interest -> what it put out.
    """

    def __init__(
        self, name: str, module: nn.Module, inputs: Inputs, producers: Sequence[nn.Module], others: Sequence[nn.Module]
    ) -> None:
        self._name, self._module, self._inputs = name, module, inputs
        self.producers = producers
        self.given: dict[nn.Module, Tensor] = {}
        self.taken, self._outputs = self._pass({}, [*producers, *others])

    def changed(self, source: nn.Module, output: Tensor) -> dict[nn.Module, Tensor]:
        """What each layer takes in at other places where `source` puts out something else: masks of that shape.

        Raises:
            ValueError: the forward's outputs change, too, or other layers run.
        """
        taken, outputs = self._pass({**{m: self.given[m] for m in self.producers}, source: output}, [])
        if len(outputs) != len(self._outputs) or any(
            _differ(new, old).any() for new, old in zip(outputs, self._outputs, strict=True)
        ):
            raise self.mismatch(f"the units of {source} reach the outputs past all layers")
        if any(taken[layer].shape != old.shape for layer, old in self.taken.items()):
            raise self.mismatch("its shapes depend on values")
        return {layer: _differ(taken[layer], old) for layer, old in self.taken.items()}

    def mismatch(self, text: str) -> ValueError:
        """The error that says so."""
        return ValueError(
            f"{self._name}: the forward of {type(self._module).__name__} does something else than what was traced: "
            f"{text}; give example=, the inputs of one call, or {DECLARE}"
        )

    def _pass(
        self, held: Mapping[nn.Module, Tensor], kept: Sequence[nn.Module]
    ) -> tuple[dict[nn.Module, Tensor], list[Tensor]]:
        taken: dict[nn.Module, Tensor] = {}

        def take(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if module in taken:
                raise self.mismatch(f"{module} runs twice")
            taken[module] = (args[0] if args else kwargs["input"])[:ROWS].clone()

        def give(module: nn.Module, _: object, output: Tensor) -> Tensor | None:
            if module in held:
                return held[module].clone()
            if module in kept:
                self.given[module] = output.clone()
            return None

        args, kwargs = self._inputs
        with ExitStack() as stack:
            for module in self.producers:
                stack.callback(module.register_forward_pre_hook(take, with_kwargs=True).remove)
            for module in {*self.producers, *held, *kept}:
                stack.callback(module.register_forward_hook(give, prepend=True).remove)
            for module in held:  # what it would compute is known already
                vars(module)["forward"] = lambda *_, **__: None
                stack.callback(vars(module).pop, "forward")
            outputs = self._module(*_copied(args), **_copied(kwargs))
        if missing := [module for module in self.producers if module not in taken]:
            raise self.mismatch(f"{missing[0]} does not run")
        return taken, [tensor.clone() for tensor in tensors_in(outputs)]


def _verify_layer(layer: UnitLayer, run: _Run, source: nn.Module) -> None:
    given = run.given[source]
    axis = 1 if given.dim() == 4 and isinstance(layer.producer, nn.Conv2d) else -1
    if given.dim() < 2 or given.shape[axis] != layer.units:
        raise run.mismatch(f"{source} puts out {tuple(given.shape)}; a batch of examples has the units in axis 1")
    readers = {consumer.module: consumer for consumer in layer.consumers}
    large = 10 * float(given.abs().max()) + 10
    for codes in _codes(layer.units).split(min(len(given), ROWS)):
        rows = torch.zeros(len(given), layer.units, dtype=torch.bool, device="cpu")
        rows[: len(codes)] = codes
        mask = rows.to(given.device).view(len(given), *_shape(given, axis, layer.units))
        found = [run.changed(source, torch.where(mask, value, given)) for value in (large, -large / 2, 0.0)]
        for module in run.producers:
            changed = torch.stack([each[module] for each in found]).any(0)
            consumer = readers.get(module)
            if consumer is None:
                right = not changed.any()
            else:
                right = torch.equal(_columns(module, changed).cpu(), _expected(consumer, rows[:ROWS]))
            if not right:
                raise run.mismatch(f"the units of {layer.producer} reach {module} at other places")


def _codes(units: int) -> Tensor:
    """Sets of units by which each can be told from the others, (sets, units)."""
    numbers = torch.arange(units, device="cpu")
    bits = torch.stack([numbers >> bit & 1 for bit in range(max(units - 1, 1).bit_length())]).bool()
    return torch.cat([bits, ~bits])


def _shape(given: Tensor, axis: int, units: int) -> list[int]:
    shape = [1] * (given.dim() - 1)
    shape[0 if axis == 1 else -1] = units
    return shape


def _columns(module: nn.Module, changed: Tensor) -> Tensor:
    """Which of a layer's columns have changed in each row, (batch, columns)."""
    by_column = changed if isinstance(module, nn.Conv2d) else changed.movedim(-1, 1)
    return by_column.flatten(2).any(-1) if by_column.dim() > 2 else by_column


def _expected(consumer: Consumer, rows: Tensor) -> Tensor:
    """Which of them the graph says should have changed, (batch, columns)."""
    columns = torch.zeros(len(rows), consumer.weight.shape[1], dtype=torch.bool, device="cpu")
    spread = rows.repeat_interleave(consumer.block, 1).repeat(1, consumer.fold)
    columns[:, consumer.start : consumer.start + spread.shape[1]] = spread
    return columns


def _differ(new: Tensor, old: Tensor) -> Tensor:
    return (new != old) & ~(new.isnan() & old.isnan())


def _first_rows(inputs: Inputs) -> Inputs:
    """Few examples of a batch."""
    tensors = tensors_in(inputs)
    if len({len(tensor) if tensor.dim() else 0 for tensor in tensors}) != 1:
        return inputs
    first: Inputs = fx.node.map_aggregate(inputs, lambda each: each[:ROWS] if isinstance(each, Tensor) else each)
    return first


def _copied(value: Any) -> Any:
    """Inputs that a forward may work on in place."""
    return fx.node.map_aggregate(value, lambda each: each.clone() if isinstance(each, Tensor) else each)
