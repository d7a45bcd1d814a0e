"""Compares traced networks with the first forward pass that trains them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from agents.plasticity.compiler import eagerly
from agents.plasticity.taps import untapped
from agents.plasticity.units import Network, Traced


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
