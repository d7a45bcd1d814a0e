"""Unit graphs of ordinary modules, found by tracing their forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from agents.plasticity.units.builders import (
    BEHIND,
    MIXING,
    NORMS,
    PRODUCERS,
    UNDERSTOOD,
    flat,
    norm_constants,
    refuse_changed,
    sequential,
    title,
)
from agents.plasticity.units.flow import Flow
from agents.plasticity.units.graph import Consumer, Network, Part, UnitLayer
from agents.plasticity.units.inits import Affine, Init, TorchDefault
from agents.plasticity.units.steps import (
    DECLARE,
    Inputs,
    Step,
    Trace,
    inputs_of,
    is_leaf,
    recorded,
    symbolic,
    tensors_in,
)
from agents.plasticity.units.values import Made, Stage
from agents.plasticity.units.verifying import verify


@dataclass(frozen=True, eq=False)
class Traced(Network):
    """A network that was found by tracing.

    Attributes:
        module: whose forward was traced.
        sources: layer's name -> the last module behind which each unit still has a row of its own output: the producer
            or a normalisation.
        is_verified: it was compared with a forward of the module.
    """

    module: nn.Module = field(default_factory=nn.Identity)
    sources: Mapping[str, nn.Module] = field(default_factory=dict)
    is_verified: bool = False

    def verify(self, inputs: Inputs) -> None:
        """Compare it with what a forward on some inputs really does.

        Raises:
            ValueError: it does something else.
        """
        verify(self, self.module, self.sources, inputs)
        object.__setattr__(self, "is_verified", True)


def network_of(
    model: nn.Module,
    name: str = "net",
    init: Init | None = None,
    example: Any = None,
    starts: Mapping[Tensor, float] | None = None,
) -> Network:
    """The unit graph of a module: `sequential` for a tree of `nn.Sequential` of what that knows, else `traced`.

    Args:
        model: a handle of torch.compile, DataParallel or DistributedDataParallel stands for the module inside.
        name: the network's name.
        init: how its layers were initialised; None for PyTorch's default.
        example, starts: see `traced`.

    Raises:
        ValueError: a module, or the way it is connected, is not understood; the message names it.
    """
    model = unwrapped(model, name)
    known = {type(module) for module in flat([model])} <= {*UNDERSTOOD, *BEHIND}
    return sequential(model, name, init) if known else traced(model, name, init, example, starts)


def unwrapped(model: nn.Module, name: str = "net") -> nn.Module:
    """The module inside handles of torch.compile, DataParallel and DistributedDataParallel.

    Raises:
        ValueError: its forward runs in copies, or without Python.
    """
    while True:
        inner = getattr(model, "_orig_mod", None)
        if isinstance(model, nn.DataParallel) and len(model.device_ids) > 1:
            raise ValueError(
                f"{name}: DataParallel computes in copies of the module on {len(model.device_ids)} devices, whose "
                "units are not those that are trained; use DistributedDataParallel"
            )
        if isinstance(model, torch.jit.ScriptModule):
            raise ValueError(
                f"{name}: a scripted module runs without Python, so that its units cannot be seen; give the module "
                "that it was made from, and train that"
            )
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def traced(
    model: nn.Module,
    name: str = "net",
    init: Init | None = None,
    example: Any = None,
    starts: Mapping[Tensor, float] | None = None,
) -> Traced:
    """The unit graph of any module that builds its hidden layers of Linear and Conv2d.

    Its forward may call functions and methods (``torch.relu(x)``, ``x.tanh()``), flatten, pool and concatenate, have
    several outputs and take several inputs. Layers that cannot be reset, such as the trunk of a residual network, are
    in `Network.fixed` with the reason.

    With an example the forward is recorded while it runs on that, and the graph is compared with what a change of each
    unit really reaches. Without one it is traced symbolically, which stops where the forward looks at its inputs
    (asserts, branches by shape), and takes optional arguments at their defaults; `Traced.verify` compares it later.

    Args:
        model: the module.
        name: the network's name.
        init: how its layers were initialised; None for PyTorch's default.
        example: a batch of inputs: a tensor, a tuple of positional arguments, or a dict of named ones.
        starts: parameter outside of layers (``log_std``) -> the value that it was initialised with; where it is not
            named here, all its elements must still have that value.

    Example::

        network = traced(model, example=torch.zeros(1, 4))

    Raises:
        ValueError: something in the forward is not understood; the message names it.
    """
    model = unwrapped(model, name)
    _refuse_strange(name, model)
    inputs = None if example is None else inputs_of(model, example)
    trace = symbolic(name, model) if inputs is None else recorded(name, model, inputs)
    flow = Flow(name, trace)
    if not flow.stages:
        raise ValueError(
            f"{name}: the forward of {type(model).__name__} runs no Linear or Conv2d layer; give a model with some"
        )
    layers: list[UnitLayer] = []
    sources: dict[str, nn.Module] = {}
    fixed: dict[str, str] = {}
    for stage in flow.stages:
        if (reason := stage.why_fixed()) is not None:
            fixed[stage.path] = reason
        elif stage.readers:
            layer = _layer(stage, f"{name}.{len(layers)}", name, init or TorchDefault())
            layers.append(layer)
            sources[layer.name] = stage.norms[-1] if stage.norms else stage.module
    parts = _parts(flow.made, init or TorchDefault())
    constants = _constants(name, model, trace, parts, starts or {})
    network = Traced(name, tuple(layers), parts, constants, fixed, module=model, sources=sources)
    if inputs is not None:
        network.verify(inputs)
    return network


def _refuse_strange(name: str, model: nn.Module) -> None:
    """Refuse a module without a forward, and modules of PyTorch's with parameters that resets do not know."""
    if "forward" not in vars(model) and type(model).forward is nn.Module.forward:
        parts = ", ".join(f"{key!r}: model.{key}" for key, _ in model.named_children())
        raise ValueError(
            f"{name}: {type(model).__name__} has no forward that could be traced; give its parts as networks, such as "
            f"{{{parts}}}, or {DECLARE}"
        )
    for path, module in model.named_modules():
        refuse_changed(name, module)
        strange = is_leaf(module) and type(module) not in (*PRODUCERS, *NORMS)
        if strange and next(module.parameters(), None) is not None:
            known = ", ".join(kind.__name__ for kind in (*PRODUCERS, *NORMS))
            raise ValueError(
                f"{name}: {path or 'the model'}, {title(module)}, is not understood; resets know {known}: {DECLARE}"
            )


def _parts(made: Sequence[Made], init: Init) -> tuple[Part, ...]:
    heights: dict[Made, int] = {}
    for each in reversed(made):
        heights[each] = max((1 + heights[follower] for follower in each.followers), default=0)
    return tuple(
        Part(each.module, init if isinstance(each, Stage) else Affine(), heights[each])
        for each in made
        if [*each.module.parameters(recurse=False), *each.module.buffers(recurse=False)]
    )


def _layer(stage: Stage, layer: str, network: str, init: Init) -> UnitLayer:
    consumers = tuple(
        Consumer(reader.producer.weight, reader.producer.bias, start, block, reader.module, fold)
        for reader, start, block, fold in stage.readers
    )
    return UnitLayer(
        name=layer,
        network=network,
        producer=stage.producer,
        tap=None,
        consumers=consumers,
        init=init,
        constants=tuple(norm_constants(stage.norms)),
        exact=not any(isinstance(norm, MIXING) for norm in stage.norms),
        preactivation=stage.preactivation,
    )


def _constants(
    name: str, model: nn.Module, trace: Trace, parts: Sequence[Part], starts: Mapping[Tensor, float]
) -> tuple[tuple[Tensor, float], ...]:
    """Parameters outside of layers and the value that each starts from.

    Raises:
        ValueError: it starts from no one value, or the forward does not use a parameter.
    """
    used = {step.name for step in tensors_in([[s.args, dict(s.kwargs)] for s in trace.steps], Step, 9)}
    used |= {step.name for step in trace.outputs}
    owned = {parameter for part in parts for parameter in part.module.parameters(recurse=False)}
    found = []
    for path, parameter in model.named_parameters():
        if parameter in owned:
            continue
        if path not in used:
            raise ValueError(
                f"{name}: the forward of {type(model).__name__} does not use {path}, which may read hidden units "
                f"elsewhere; use it there, leave it out of the module, or {DECLARE}"
            )
        first = float(parameter.detach().flatten()[0]) if parameter.numel() else 0.0
        value = starts.get(parameter, first)
        if parameter not in starts and not bool((parameter == value).all()):
            raise ValueError(
                f"{name}: nothing is known of how the parameter {path} was initialised; trace the module before it is "
                f"trained or loaded and start {path} from one value, or {DECLARE}"
            )
        found.append((parameter, value))
    return tuple(found)
