"""A call again and again in which only its last modules change: what runs before them is computed once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack

from torch import Tensor, nn

from agents.plasticity.compiler import eagerly
from agents.plasticity.probing import layers_of
from agents.plasticity.protocols import Learner
from agents.plasticity.threads import in_this_thread


def modules_of(learner: Learner) -> set[nn.Module]:
    """Those that a learner's networks are known to be made of."""
    parts = [part.module for network in learner.networks.values() for part in network.parts]
    return {*parts, *(layer.tap for layer in layers_of(learner) if layer.tap is not None)}


class Prefix:
    """A call in which modules that run before some others, once, put out what they did at first.

    Nothing in those others can change it. They still run, on one row of their input.

    Args:
        call: gives the same at every call, but for what is changed in the others.
        modules: that may be left out, of which each puts out one tensor.
        others: that change.
    """

    def __init__(
        self, call: Callable[[], Mapping[str, Tensor]], modules: Iterable[nn.Module], others: Collection[nn.Module]
    ) -> None:
        self._call = call
        self._known = _run_before(call, modules, others)
        self._copied = set(self._known)
        self._copies: dict[nn.Module, Tensor] = {}
        self()
        # From now on only what somebody works on in place, such as the sum at the end of a residual block.
        self._copied = {module for module, copy in self._copies.items() if copy._version}

    def __call__(self) -> Mapping[str, Tensor]:
        with ExitStack() as stack:
            stack.enter_context(eagerly())
            for module in self._known:
                stack.callback(module.register_forward_pre_hook(in_this_thread(_first_row)).remove)
                stack.callback(module.register_forward_hook(in_this_thread(self._put_out), prepend=True).remove)
            return self._call()

    def _put_out(self, module: nn.Module, _: object, __: object) -> Tensor:
        if module not in self._copied:
            return self._known[module]
        self._copies[module] = self._known[module].clone()
        return self._copies[module]


def _first_row(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    first = [tensor[:1].clone() for tensor in inputs[:1]]  # a copy, because the module may work in place
    return (*first, *inputs[1:])


def _run_before(
    call: Callable[[], object], modules: Iterable[nn.Module], others: Collection[nn.Module]
) -> dict[nn.Module, Tensor]:
    """What those of the modules put out that run before the first of the others, and once."""
    found: dict[nn.Module, Tensor] = {}
    repeated: set[nn.Module] = set()
    passed = False

    def note(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal passed
        passed = passed or module in others
        if passed or module in found:
            repeated.add(module)
        else:
            found[module] = output.clone()

    handles = [module.register_forward_hook(in_this_thread(note)) for module in {*modules, *others}]
    try:
        with eagerly():
            call()
    finally:
        for handle in handles:
            handle.remove()
    return {module: output for module, output in found.items() if module not in repeated}
