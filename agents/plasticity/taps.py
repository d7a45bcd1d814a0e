"""Activations of hidden units and the gradients that reach them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from agents.plasticity.compiler import eagerly
from agents.plasticity.threads import in_this_thread
from agents.plasticity.units import Place, UnitLayer
from agents.plasticity.units.places import units_at_axis_1

_listening: ContextVar[bool] = ContextVar("listening", default=True)


@contextmanager
def untapped() -> Iterator[None]:
    """Around forward passes that open taps do not record: of targets, or of one network inside another's loss.

    Gradients go through them as ever.
    """
    token = _listening.set(False)
    try:
        yield
    finally:
        _listening.reset(token)


def _keep_first(gradients: dict[int, Tensor], number: int, gradient: Tensor) -> None:
    """A tensor's hook: keep the RL loss's gradient, which a second backward (a penalty's) must not overwrite.

    What a hook holds must not lead back to its tensor: that circle runs through autograd, where Python's collector
    does not see it, and the whole graph would stay for ever. Hence the detaching, and no `Taps` among the arguments.
    """
    gradients.setdefault(number, gradient.detach())


class Preactivation(NamedTuple):
    """What goes into a layer's activation function: not the tensor, which an activation in place makes another one.

    Attributes:
        edge: where gradients can be taken with respect to it; None where it takes none.
        shape: (batch, units) or (batch, channels, height, width).
    """

    edge: GradientEdge | None
    shape: torch.Size


class Seen(NamedTuple):
    """What taps have seen of a backward, detached; as `Update` hands it to interventions.

    Attributes:
        taps: layer's name -> (a, dL/da), for the layers that the backward has reached.
        preactivation_grads: layer's name -> dL/d(what goes into its activation function).
    """

    taps: dict[str, tuple[Tensor, Tensor]]
    preactivation_grads: dict[str, Tensor]


def joined(parts: Sequence[Seen]) -> Seen:
    """The parts of a batch that a backward has reached as one, in their order.

    Raises:
        ValueError: they differ in more than their number of examples.
    """
    parts = [part for part in parts if part.taps]
    if len(parts) == 1:
        return parts[0]
    taps: dict[str, list[tuple[Tensor, Tensor]]] = {}
    inner: dict[str, list[Tensor]] = {}
    for part in parts:
        for name, pair in part.taps.items():
            taps.setdefault(name, []).append(pair)
            first, size = taps[name][0][0].shape[1:], pair[0].shape[1:]
            if size != first:
                raise ValueError(
                    f"{name}: forwards of one step have units of sizes {tuple(first)} and {tuple(size)}, and cannot be "
                    "parts of one batch; step after each, or give them inputs of one size"
                )
        for name, gradient in part.preactivation_grads.items():
            inner.setdefault(name, []).append(gradient)
    return Seen(
        {name: (torch.cat([a for a, _ in pairs]), torch.cat([g for _, g in pairs])) for name, pairs in taps.items()},
        {name: torch.cat(gradients) for name, gradients in inner.items()},
    )


class RanTwiceError(RuntimeError):
    """A module ran twice in one forward pass, so that it is not known which of the two is meant."""


class _Record:
    """What one layer has shown in one forward pass."""

    def __init__(self, layer: UnitLayer) -> None:
        self.layer = layer
        self.shown: list[tuple[Place, Tensor]] = []  # still part of the graph
        self.gradients: dict[int, Tensor] = {}  # number in `shown` -> gradient
        self.preactivation: Preactivation | None = None
        self.inner_gradients: dict[int, Tensor] = {}  # of the preactivation, under the key 0
        self._met: set[Place] = set()

    def look(self, place: Place, tensor: Tensor) -> Tensor | None:
        if not _listening.get():
            return None
        if place in self._met:
            raise self._ran_twice(place.module)
        self._met.add(place)
        # Of several consumers each takes an alias: a tensor that two share would bring each the other's gradient, too.
        shared = len(self.layer.places) > 1 and tensor.requires_grad
        shown = tensor.view_as(tensor) if shared else tensor
        if shown.requires_grad:
            shown.register_hook(partial(_keep_first, self.gradients, len(self.shown)))
        self.shown.append((place, shown))
        return shown if shared else None

    def look_inside(self, module: nn.Module, _: object, output: Tensor) -> None:
        if not _listening.get():
            return
        if self.preactivation is not None:
            raise self._ran_twice(module)
        edge = get_gradient_edge(output) if output.requires_grad else None
        self.preactivation = Preactivation(edge, output.shape)
        if edge is not None:
            output.register_hook(partial(_keep_first, self.inner_gradients, 0))

    def _ran_twice(self, module: nn.Module) -> RanTwiceError:
        return RanTwiceError(
            f"{self.layer.name}: the module {module} ran twice in one forward; give each layer its own, and run what "
            "is not the training forward inside `with untapped():`"
        )

    def release(self) -> None:
        takes_gradients = any(tensor.requires_grad for _, tensor in self.shown)
        self.shown = [(place, tensor.detach()) for place, tensor in self.shown] if takes_gradients else []
        self.preactivation = None

    def gathered(self, gradients: Mapping[int, Tensor]) -> Tensor:
        """The units' gradient from those of what was shown."""
        found = [self.shown[number][0].units(gradient) for number, gradient in gradients.items()]
        return found[0] if len(found) == 1 else torch.stack(found).sum(0)


class Taps:
    """Records each layer's units, as their consumers see them, while the taps are open, and the gradients of them.

    Gradients are complete when backward has passed the layer: they sum over all consumers.

    Args:
        layers: to be tapped.
        preactivations: also record the gradients of what goes into the activation functions, of the layers of which
            that is known. They are right where an activation works in place, too.

    Example::

        with Taps(layers) as taps:
            loss = loss_of(network(batch))
        loss.backward()
        activations, gradient = taps.read()["actor.0"]
    """

    def __init__(self, layers: Iterable[UnitLayer], *, preactivations: bool = False) -> None:
        self._records = {layer.name: _Record(layer) for layer in layers}
        self._looks_inside = preactivations
        self._open = ExitStack()

    def __enter__(self) -> Taps:
        with ExitStack() as stack:
            if self._records:
                stack.enter_context(eagerly())
            for record in self._records.values():
                inside = record.layer.preactivation if self._looks_inside else None
                if inside is not None:
                    # Before the places' hooks: one module may be both, and no activation has worked on its output yet.
                    stack.callback(inside.register_forward_hook(in_this_thread(record.look_inside)).remove)
                for place in record.layer.places:
                    stack.callback(place.show(partial(record.look, place)).remove)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def roots(self, name: str) -> list[Tensor]:
        """The tensors that hold a layer's units, still part of the graph: what gradients can be taken of."""
        return [tensor for _, tensor in self._records[name].shown]

    def gradient(self, name: str, gradients: Sequence[Tensor]) -> Tensor:
        """The gradient of a layer's units, in the shape of its activations, from those of its `roots`."""
        return self._records[name].gathered(dict(enumerate(gradients)))

    @property
    def activations(self) -> dict[str, Tensor]:
        """Layer's name -> activations, (batch, units) or (batch, channels, height, width)."""
        seen = {name: record.shown[0] for name, record in self._records.items() if record.shown}
        return {name: place.units(tensor.detach()) for name, (place, tensor) in seen.items()}

    @property
    def preactivations(self) -> dict[str, Preactivation]:
        """Layer's name -> what goes into its activation function, where it is known and was asked for."""
        found = {name: record.preactivation for name, record in self._records.items()}
        return {name: preactivation for name, preactivation in found.items() if preactivation is not None}

    def read(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Layer's name -> (a, dL/da), for the layers that the backward has reached."""
        activations = self.activations
        reached = {name: record for name, record in self._records.items() if record.gradients}
        return {name: (activations[name], record.gathered(record.gradients)) for name, record in reached.items()}

    def read_preactivations(self) -> dict[str, Tensor]:
        """Layer's name -> dL/d(what goes into its activation function), as `read`."""
        found = {name: record.inner_gradients[0] for name, record in self._records.items() if record.inner_gradients}
        return {name: units_at_axis_1(gradient) for name, gradient in found.items()}

    def seen(self, scale: Tensor | None = None) -> Seen:
        """All that was read, of a loss that was scaled by this: gradients are those of the loss as it was."""
        taps, inner = self.read(), self.read_preactivations()
        if scale is not None:
            taps = {name: (a, _unscaled(g, scale)) for name, (a, g) in taps.items()}
            inner = {name: _unscaled(gradient, scale) for name, gradient in inner.items()}
        return Seen(taps, inner)

    @property
    def reached(self) -> bool:
        """Whether a backward has reached a layer."""
        return any(record.gradients for record in self._records.values())

    def release(self) -> None:
        """Let go of the forward's graph, after which there are no `roots`; gradients are recorded as ever."""
        for record in self._records.values():
            record.release()

    def forget(self) -> None:
        """Drop the gradients recorded so far, as an optimizer's `zero_grad` does."""
        for record in self._records.values():
            record.gradients.clear()
            record.inner_gradients.clear()


class Parts:
    """The taps of several forwards through one network, whose loss has one backward: parts of one batch."""

    def __init__(self, taps: Sequence[Taps]) -> None:
        self._taps = taps

    def seen(self, scale: Tensor | None = None) -> Seen:
        """As `Taps.seen`."""
        return joined([taps.seen(scale) for taps in self._taps])


def _unscaled(gradient: Tensor, scale: Tensor) -> Tensor:
    """In single precision at least: half precision is what the loss was scaled for."""
    return gradient.to(torch.promote_types(gradient.dtype, torch.float32)) / scale
