"""Activations of hidden units and the gradients that reach them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import TracebackType

import torch
from torch import Tensor, nn

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


class Taps:
    """Records what each layer's tap puts out while the taps are open, and the gradient of it.

    The gradient of the tapped tensor is complete when backward has passed it: it sums over all consumers.

    Example::

        with Taps(layers) as taps:
            loss = loss_of(network(batch))
        loss.backward()
        activations, gradient = taps.read()["actor.0"]
    """

    def __init__(self, layers: Iterable[UnitLayer]) -> None:
        self._layers = tuple(layers)
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._outputs: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}

    def __enter__(self) -> Taps:
        for layer in self._layers:
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
            if layer.name in outputs:
                raise RuntimeError(
                    f"{layer.name}: the module {module} ran twice in one forward; give each layer its own, and run "
                    "what is not the training forward inside `with untapped():`"
                )
            outputs[layer.name] = output
            if output.requires_grad:
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

    def read(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Layer's name -> (a, dL/da), for the layers that the backward has reached."""
        return {name: (self._outputs[name].detach(), gradient) for name, gradient in self._gradients.items()}
