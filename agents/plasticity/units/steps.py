"""What a module's forward computes, step by step: traced without data, or recorded while it runs on an example."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, is_dataclass
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from agents.plasticity.compiler import eagerly
from agents.plasticity.layers import OWN

Inputs = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and named arguments of a forward."""

LOOKS = (
    "bool", "float", "int", "index", "complex", "item", "tolist", "numpy", "array", "equal", "allclose", "is_nonzero"
)  # fmt: skip
"""Functions that hand values to Python, which may then decide by them."""

CONSTANT = "a constant"
DECLARE = "declare its units with UnitLayer, Consumer and Network"


@dataclass(eq=False)
class Step:
    """One step of a forward.

    Attributes:
        kind: an ``input`` stands for all that comes from outside, buffers and constants too.
        name: a function's name without underscores (``relu`` for ``x.relu_()``); a module's or parameter's path.
        args, kwargs: with steps in the places of tensors.
        module: of a module's step.
        shape: of the tensor, where it is known.
    """

    kind: Literal["input", "parameter", "module", "function"]
    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    module: nn.Module | None = None
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Trace:
    """The steps of one forward in order, and those whose values it puts out or leaves behind in attributes."""

    steps: list[Step]
    outputs: list[Step]


def inputs_of(module: nn.Module, example: Any) -> Inputs:
    """An example as arguments of a module's forward: a tensor, a tuple of arguments, or a dict of named ones.

    A dict that does not name the forward's arguments is one argument.
    """
    if isinstance(example, tuple):
        return example, {}
    if isinstance(example, Mapping):
        known = inspect.signature(module.forward).parameters
        if example and all(key in known for key in example):
            return (), dict(example)
    return (example,), {}


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[Callable[[], list[Any]]]:
    """Around passes that must leave no trace: in evaluation mode, with the state of attributes, buffers and torch's
    random numbers put back afterwards.

    Yields:
        what the passes have left behind in attributes so far.
    """
    modules = list(module.modules())
    held = [(vars(each), dict(vars(each)), each._buffers, dict(each._buffers)) for each in modules]
    buffers = [(buffer, buffer._version, buffer.detach().clone()) for buffer in module.buffers()]
    devices = {p.device for p in module.parameters() if p.device.type == "cuda"}

    def left() -> list[Any]:
        return [now[key] for now, then, *_ in held for key in now if now[key] is not then.get(key) and key[0] != "_"]

    with torch.random.fork_rng(devices=sorted(devices, key=str)), eagerly():
        for each in modules:
            vars(each)["training"] = False
        try:
            yield left
        finally:
            for now, then, _, _ in held:
                now.clear()
                now.update(then)
            for _, _, now_buffers, then_buffers in held:
                now_buffers.clear()
                now_buffers.update(then_buffers)
            with torch.no_grad():
                for buffer, version, value in buffers:
                    if buffer._version != version:
                        buffer.copy_(value)


def tensors_in(value: Any, kind: type[Any] = Tensor, depth: int = 4) -> list[Any]:
    """All that is of a kind in containers, dataclasses and the attributes of objects such as distributions."""
    if isinstance(value, kind):
        return [value]
    if isinstance(value, nn.Module | Tensor | type) or depth == 0:
        return []
    if isinstance(value, Mapping):
        inner = list(value.values())
    elif isinstance(value, list | tuple | set | frozenset):
        inner = list(value)
    elif is_dataclass(value) or type(value).__module__.startswith("torch.distributions"):
        inner = list(vars(value).values())
    else:
        return []
    return [found for each in inner for found in tensors_in(each, kind, depth - 1)]


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is one of PyTorch's own, or an activation function of ours, which is not looked into."""
    own = type(module).__module__.startswith("torch.nn.") or type(module) in OWN
    return own and not isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)


# ---------------------------------------------------------------------- without data


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_leaf(m)


def symbolic(name: str, module: nn.Module) -> Trace:
    """The steps of a forward whose optional arguments have their defaults.

    Raises:
        ValueError: it cannot be traced without data.
    """
    parameters = inspect.signature(module.forward).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    try:
        with undisturbed(module) as left, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fx cannot check some of the defaults when the trace runs; it never does
            graph = _Tracer().trace(module, defaults or None)
            behind = [proxy.node for proxy in tensors_in(left(), fx.Proxy)]
    except Exception as error:  # the code is a user's
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{name}: the forward of {type(module).__name__} cannot be traced without data ({reason}); "
            f"give example=, the inputs of one call, or {DECLARE}"
        ) from error
    steps: dict[fx.Node, Step] = {}
    for node in graph.nodes:
        if node.op == "output":
            break
        steps[node] = _of_node(module, node, _with_steps(node.args, steps), _with_steps(node.kwargs, steps))
    put_out = tensors_in(_with_steps(node.args, steps), Step)
    return Trace(list(steps.values()), [*put_out, *(steps[each] for each in behind)])


def _with_steps(arguments: Any, steps: Mapping[fx.Node, Step]) -> Any:
    def step_of(each: Any) -> Any:
        return steps[each] if isinstance(each, fx.Node) else each

    return fx.node.map_aggregate(arguments, step_of)


def _of_node(root: nn.Module, node: fx.Node, args: Any, kwargs: Any) -> Step:
    if node.op == "call_module":
        return Step("module", str(node.target), args, kwargs, root.get_submodule(str(node.target)))
    if node.op == "get_attr":
        found: Any = root
        for key in str(node.target).split("."):
            found = getattr(found, key)
        return Step("parameter" if isinstance(found, nn.Parameter) else "input", str(node.target))
    if node.op == "placeholder":
        return Step("input", str(node.target))
    name = node.target if isinstance(node.target, str) else node.target.__name__
    return Step("function", str(args[1]) if name == "getattr" else _operation(name), args, kwargs)


def _operation(name: str) -> str:
    """``add`` for ``__add__``, ``add_`` and ``__iadd__``."""
    bare = name.strip("_")
    return bare[1:] if name.startswith("__i") and bare not in ("index", "int", "invert", "iter") else bare


# ---------------------------------------------------------------------- on an example


def recorded(name: str, module: nn.Module, inputs: Inputs) -> Trace:
    """The steps that a forward takes on an example.

    Raises:
        ValueError: it looks at values, so that it may take others on other data, or computes where it cannot be seen.
    """
    recorder = _Recorder(name, module)
    args, kwargs = recorder.begin(inputs)
    with undisturbed(module) as left, ExitStack() as stack:
        for path, each in module.named_modules():
            if is_leaf(each):
                for handle in recorder.watch(path, each):
                    stack.callback(handle.remove)
        with torch.enable_grad(), recorder:
            put_out = module(*args, **kwargs)
        found = tensors_in(put_out) + tensors_in(left())
    return Trace(recorder.steps, [step for tensor in found if (step := recorder.known(tensor)) is not None])


class _Recorder(TorchFunctionMode):
    """Notes every function and every module of PyTorch's that works on tensors which depend on the inputs."""

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__()
        self._name, self._title = name, type(module).__name__
        self.steps: list[Step] = []
        self._of: dict[int, Step] = {}  # a tensor's id -> the step that made it
        self._alive: list[Any] = []  # so that no id is used again
        self._depth = 0  # of modules that are not looked into
        for path, parameter in module.named_parameters():
            self._note(Step("parameter", path), parameter)

    def begin(self, inputs: Inputs) -> Any:
        """Copies of the inputs, whose tensors are noted."""
        inputs = fx.node.map_aggregate(inputs, lambda each: each.clone().detach() if isinstance(each, Tensor) else each)
        for tensor in tensors_in(inputs):
            self._note(Step("input", "input", shape=tuple(tensor.shape)), tensor)
        return inputs

    def known(self, tensor: Tensor) -> Step | None:
        """The step that made a tensor."""
        return self._of.get(id(tensor))

    def watch(self, path: str, module: nn.Module) -> Iterator[torch.utils.hooks.RemovableHandle]:
        """Note a module's step whenever it runs."""

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._depth += 1

        def behind(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if self._depth == 1:
                self._add(Step("module", path, *self._mapped(args, kwargs), module), output)
            self._depth -= 1

        yield module.register_forward_pre_hook(before, with_kwargs=True)
        yield module.register_forward_hook(behind, with_kwargs=True)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._depth:
            return func(*args, **kwargs)
        raw = getattr(func, "__name__", str(func))
        name = str(getattr(func, "__self__").__name__) if raw == "__get__" else _operation(raw)  # noqa: B009
        mapped = self._mapped(args, kwargs)
        output = func(*args, **kwargs)
        if any(step.name != CONSTANT for step in tensors_in(mapped, Step)):
            if name in LOOKS and not str(sys._getframe(1).f_globals.get("__name__")).startswith("torch."):
                raise ValueError(
                    f"{self._name}: the forward of {self._title} looks at values ({name}), so that it may go another "
                    f"way on other data; {DECLARE}"
                )
            in_place = raw == "__setitem__" or (raw.endswith("_") and not raw.endswith("__"))
            self._add(Step("function", name, *mapped), args[0] if in_place else output)
        return output

    def _mapped(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        return fx.node.map_aggregate(args, self._step), fx.node.map_aggregate(kwargs, self._step)

    def _step(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if id(value) in self._of:
            return self._of[id(value)]
        if value.grad_fn is not None:
            raise ValueError(
                f"{self._name}: the forward of {self._title} takes in a value whose origin tracing does not see, such "
                f"as a torch.autograd.Function or an earlier pass; {DECLARE}"
            )
        return Step("input", CONSTANT, shape=tuple(value.shape)) if value.dim() else 0.0

    def _add(self, step: Step, output: Any) -> None:
        if isinstance(output, Tensor):
            step.shape = tuple(output.shape)
            self._note(step, output)
            return
        self._note(step)
        for number, tensor in enumerate(tensors_in(output)):
            self._note(Step("function", "getitem", (step, number), shape=tuple(tensor.shape)), tensor)

    def _note(self, step: Step, tensor: Tensor | None = None) -> None:
        self.steps.append(step)
        if tensor is not None:
            self._alive.append(tensor)
            self._of[id(tensor)] = step
