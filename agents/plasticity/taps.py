"""Activations of hidden units and the gradients that reach them."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from agents.plasticity.units import UnitLayer

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


def _keep_first(gradients: dict[str, Tensor], name: str, gradient: Tensor) -> None:
    """A tensor's hook: keep the RL loss's gradient, which a second backward (a penalty's) must not overwrite.

    What a hook holds must not lead back to its tensor: that circle runs through autograd, where Python's collector
    does not see it, and the whole graph would stay for ever. Hence the detaching, and no `Taps` among the arguments.
    """
    gradients.setdefault(name, gradient.detach())


class Preactivation(NamedTuple):
    """What goes into a layer's activation function: not the tensor, which an activation in place makes another one.

    Attributes:
        edge: where gradients can be taken with respect to it; None where it takes none.
        shape: (batch, units) or (batch, channels, height, width).
    """

    edge: GradientEdge | None
    shape: torch.Size


class Taps:
    """Records what each layer's tap puts out while the taps are open, and the gradient of it.

    The gradient of the tapped tensor is complete when backward has passed it: it sums over all consumers.

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
        self._layers = tuple(layers)
        self._looks_inside = preactivations
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._outputs: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}
        self._preactivations: dict[str, Preactivation] = {}
        self._inner_gradients: dict[str, Tensor] = {}

    def __enter__(self) -> Taps:
        for layer in self._layers:
            if self._looks_inside and layer.preactivation is not None:
                # Before the tap's hook: one module may be both, and no activation has worked on its output yet.
                self._handles.append(layer.preactivation.register_forward_hook(self._inner_recorder(layer)))
            self._handles.append(layer.tap.register_forward_hook(self._recorder(layer)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _recorder(self, layer: UnitLayer) -> Callable[[nn.Module, object, Tensor], None]:
        outputs, keep_gradient = self._outputs, partial(_keep_first, self._gradients, layer.name)

        def record(module: nn.Module, _: object, output: Tensor) -> None:
            if not _listening.get():
                return
            _refuse_twice(layer, module, outputs)
            outputs[layer.name] = output
            if output.requires_grad:
                output.register_hook(keep_gradient)

        return record

    def _inner_recorder(self, layer: UnitLayer) -> Callable[[nn.Module, object, Tensor], None]:
        found, keep_gradient = self._preactivations, partial(_keep_first, self._inner_gradients, layer.name)

        def record(module: nn.Module, _: object, output: Tensor) -> None:
            if not _listening.get():
                return
            _refuse_twice(layer, module, found)
            edge = get_gradient_edge(output) if output.requires_grad else None
            found[layer.name] = Preactivation(edge, output.shape)
            if edge is not None:
                output.register_hook(keep_gradient)

        return record

    @property
    def outputs(self) -> dict[str, Tensor]:
        """Layer's name -> what its tap put out, still part of the graph: gradients can be taken with respect to it."""
        return self._outputs

    @property
    def activations(self) -> dict[str, Tensor]:
        """Layer's name -> activations, (batch, units) or (batch, channels, height, width)."""
        return {name: output.detach() for name, output in self._outputs.items()}

    @property
    def preactivations(self) -> dict[str, Preactivation]:
        """Layer's name -> what goes into its activation function, where it is known and was asked for."""
        return self._preactivations

    def read(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Layer's name -> (a, dL/da), for the layers that the backward has reached."""
        return {name: (self._outputs[name].detach(), gradient) for name, gradient in self._gradients.items()}

    def read_preactivations(self) -> dict[str, Tensor]:
        """Layer's name -> dL/d(what goes into its activation function), as `read`."""
        return dict(self._inner_gradients)


def _refuse_twice(layer: UnitLayer, module: nn.Module, seen: Container[str]) -> None:
    if layer.name in seen:
        raise RuntimeError(
            f"{layer.name}: the module {module} ran twice in one forward; give each layer its own, and run what is not "
            "the training forward inside `with untapped():`"
        )
