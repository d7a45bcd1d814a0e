"""Activations of hidden units and the gradients that reach them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from agents.plasticity.units import Network, Place, Traced, UnitLayer

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


@contextmanager
def eagerly() -> Iterator[None]:
    """Around forward passes that hooks must see: graphs that torch.compile made before do not run them."""
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def verified(networks: Iterable[Network]) -> Iterator[None]:
    """Around a forward pass: traced networks that nothing was compared with yet are compared with what runs in it.

    Raises:
        ValueError: a module does something else than what was traced, or its layers run outside of its forward.
    """
    pending = [network for network in networks if isinstance(network, Traced) and not network.is_verified]
    if not pending:
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(eagerly())
        for network in pending:
            _verify_when_run(network, stack)
        yield


def _verify_when_run(network: Traced, stack: ExitStack) -> None:
    def verify(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for handle in handles:
            handle.remove()
        with untapped():
            network.verify((args, kwargs))

    def refuse(module: nn.Module, _: object) -> None:
        raise ValueError(
            f"{network.name}: {module} runs outside of the forward of {type(network.module).__name__}, by which the "
            "network was traced; call the whole module, or give the parts that run by themselves as networks"
        )

    handles = [part.module.register_forward_pre_hook(refuse) for part in network.parts]
    handles.append(network.module.register_forward_pre_hook(verify, with_kwargs=True))
    for handle in handles:
        stack.callback(handle.remove)


class _Record:
    """What one layer's places have shown in one forward pass."""

    def __init__(self, layer: UnitLayer) -> None:
        self.layer = layer
        self.shown: list[tuple[Place, Tensor]] = []  # still part of the graph
        self.gradients: dict[int, Tensor] = {}  # number in `shown` -> gradient
        self._met: set[Place] = set()

    def look(self, place: Place, tensor: Tensor) -> Tensor | None:
        if not _listening.get():
            return None
        if place in self._met:
            raise RuntimeError(
                f"{self.layer.name}: the module {place.module} ran twice in one forward; give each layer its own, and "
                "run what is not the training forward inside `with untapped():`"
            )
        self._met.add(place)
        # Of several consumers each takes an alias: a tensor that two share would bring each the other's gradient, too.
        shared = len(self.layer.places) > 1 and tensor.requires_grad
        shown = tensor.view_as(tensor) if shared else tensor
        if shown.requires_grad:
            shown.register_hook(partial(_keep_first, self.gradients, len(self.shown)))
        self.shown.append((place, shown))
        return shown if shared else None

    def gathered(self, gradients: Mapping[int, Tensor]) -> Tensor:
        """The units' gradient from those of what was shown."""
        found = [self.shown[number][0].units(gradient) for number, gradient in gradients.items()]
        return found[0] if len(found) == 1 else torch.stack(found).sum(0)


class Taps:
    """Records each layer's units, as their consumers see them, while the taps are open, and the gradients of them.

    Gradients are complete when backward has passed the layer: they sum over all consumers.

    Example::

        with Taps(layers) as taps:
            loss = loss_of(network(batch))
        loss.backward()
        activations, gradient = taps.read()["actor.0"]
    """

    def __init__(self, layers: Iterable[UnitLayer]) -> None:
        self._records = {layer.name: _Record(layer) for layer in layers}
        self._open = ExitStack()

    def __enter__(self) -> Taps:
        with ExitStack() as stack:
            if self._records:
                stack.enter_context(eagerly())
            for record in self._records.values():
                for place in record.layer.places:
                    stack.callback(place.show(partial(record.look, place)).remove)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _seen(self) -> dict[str, _Record]:
        return {name: record for name, record in self._records.items() if record.shown}

    def roots(self, name: str) -> list[Tensor]:
        """The tensors that hold a layer's units, still part of the graph: what gradients can be taken of."""
        return [tensor for _, tensor in self._records[name].shown]

    def gradient(self, name: str, gradients: Sequence[Tensor]) -> Tensor:
        """The gradient of a layer's units, in the shape of its activations, from those of its `roots`."""
        return self._records[name].gathered(dict(enumerate(gradients)))

    @property
    def activations(self) -> dict[str, Tensor]:
        """Layer's name -> activations, (batch, units) or (batch, channels, height, width)."""
        found = {}
        for name, record in self._seen().items():
            place, tensor = record.shown[0]
            found[name] = place.units(tensor.detach())
        return found

    def read(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Layer's name -> (a, dL/da), for the layers that the backward has reached."""
        activations = self.activations
        reached = {name: record for name, record in self._seen().items() if record.gradients}
        return {name: (activations[name], record.gathered(record.gradients)) for name, record in reached.items()}
