"""Unit graphs of sequences of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn
from torch.nn.utils import parametrize

from agents.plasticity.injectable import Injectable
from agents.plasticity.layers import OWN, fold_of
from agents.plasticity.units.graph import Consumer, Network, Part, Producer, UnitLayer
from agents.plasticity.units.inits import Affine, Init, TorchDefault

POINTWISE = (
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.CELU,
    nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LogSigmoid, nn.ReLU6, nn.SELU, nn.Softshrink,
    nn.Tanhshrink,
)  # fmt: skip
ACTIVATIONS = (*POINTWISE, *OWN)
OVER_UNITS = (nn.LayerNorm, nn.RMSNorm)  # over all values of a sample
NORMS = (*OVER_UNITS, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d)
POOLINGS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
PASSING = (nn.Identity, nn.Dropout, nn.Dropout2d)  # the units behind them are those before them
MIXING = (*OVER_UNITS, nn.GroupNorm)  # each unit changes the others'
PRODUCERS = (nn.Linear, nn.Conv2d)
UNDERSTOOD = (*PRODUCERS, nn.Flatten, *ACTIVATIONS, *NORMS, *POOLINGS, *PASSING)  # and no subclass: it may do anything
BEHIND = (*ACTIVATIONS, *PASSING, nn.Softmax, nn.LogSoftmax, nn.Flatten, nn.Unflatten)  # an output layer


@dataclass(frozen=True)
class _Stage:
    """A producer with what follows it up to the next one."""

    producer: Producer
    preactivation: nn.Module  # the last module before its activation
    tap: nn.Module | None = None  # None until its activation has been met
    flattened: bool = False
    fold: int = 1
    norms: tuple[nn.Module, ...] = ()
    exact: bool = True


def chain(
    name: str,
    modules: Iterable[nn.Module],
    heads: Sequence[tuple[Producer, int]],
    init: Init,
    *,
    first: int = 0,
    network: str | None = None,
    alone: bool = False,
) -> list[UnitLayer]:
    """The hidden layers of a sequence of modules.

    Each Linear or Conv2d is followed by an activation; a normalisation may stand before or behind that, pooling behind
    it, and a Flatten after the last convolution. Nested `nn.Sequential` are looked into.

    Args:
        name: the layers' names are this and their depth, such as ``actor.0``.
        modules: the hidden modules in execution order, without the output layer.
        heads: (module, offset) of everything that reads the last layer, from that column on.
        init: how the modules were initialised.
        first: number of the first layer in the names.
        network: the network's name, where it is not `name`.
        alone: the heads read the last layer and nothing else, so that it may be a flattened convolution.

    Raises:
        ValueError: a module, or the way it is connected, is not understood; the message names it.
    """
    stages = _stages(name, flat(modules))
    layers = []
    for depth, stage in enumerate(stages):
        last = depth == len(stages) - 1
        layer = f"{name}.{first + depth}"
        if stage.tap is None:
            raise ValueError(f"{name}: no activation follows {stage.producer}; end the hidden layers with one")
        readers = heads if last else [(stages[depth + 1].producer, 0)]
        only = alone or not last
        layers.append(
            UnitLayer(
                name=layer,
                network=network or name,
                producer=stage.producer,
                tap=stage.tap,
                consumers=tuple(_consumer(layer, stage, reader, start, alone=only) for reader, start in readers),
                init=init,
                constants=tuple(norm_constants(stage.norms)),
                exact=stage.exact,
                preactivation=stage.preactivation,
            )
        )
    return layers


def parts_of(modules: Iterable[nn.Module], init: Init, *, above: int) -> list[Part]:
    """The parts of a sequence of modules, of which `above` layers follow the last one.

    A normalisation has the height of the producer that it follows.
    """
    found = [module for module in flat(modules) if isinstance(module, (nn.Linear, nn.Conv2d, *NORMS))]
    height = above + sum(isinstance(module, nn.Linear | nn.Conv2d) for module in found)
    parts = []
    for module in found:
        producer = isinstance(module, nn.Linear | nn.Conv2d)
        height -= producer
        if [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
            parts.append(Part(module, init if producer else Affine(), height))
    return parts


def sequential(model: nn.Module, name: str = "net", init: Init | None = None) -> Network:
    """The unit graph of a tree of `nn.Sequential` whose last Linear or Conv2d is the output layer.

    Args:
        model: such as ``nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))``.
        name: the network's name.
        init: how its layers were initialised; None for PyTorch's default.

    Raises:
        ValueError: a module, or the way it is connected, is not understood; the message names it.
    """
    init = TorchDefault() if init is None else init
    modules = list(flat([model]))
    _refuse_reused(name, modules)
    for module in model.modules():
        refuse_changed(name, module)
    producers = [i for i, module in enumerate(modules) if type(module) in PRODUCERS]
    if not producers:
        raise ValueError(f"{name}: {model} has no Linear or Conv2d layer; give a model with hidden layers")
    output = producers[-1]
    for module in modules[output + 1 :]:
        if type(module) not in BEHIND:
            raise ValueError(f"{name}: {title(module)} is not understood behind the output layer {modules[output]}")
    layers = chain(name, modules[:output], [(_producer(modules[output]), 0)], init, alone=True)
    heads = [head for head in model.modules() if isinstance(head, Injectable)]
    parts = tuple(parts_of(modules, init, above=0))
    return Network(name, tuple(layer.before(heads) for layer in layers), parts, heads=tuple((head,) for head in heads))


def flat(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """The modules in execution order, with what stands in nested sequences in their place."""
    for module in modules:
        if type(module) is nn.Sequential or type(module) is Injectable:
            yield from flat(module)
        else:
            yield module


def title(module: nn.Module) -> str:
    """The module in one line: with its arguments, or its type where it holds others."""
    return type(module).__name__ if next(module.children(), None) is not None else str(module)


def _producer(module: nn.Module) -> Producer:
    assert isinstance(module, nn.Linear | nn.Conv2d)
    return module


def _stages(name: str, modules: Iterable[nn.Module]) -> list[_Stage]:
    """Producers with their activations; refuses what it does not know rather than treat half of it."""
    stages: list[_Stage] = []
    modules = list(modules)
    _refuse_reused(name, modules)
    for module in modules:
        refuse_changed(name, module)
        stage = stages[-1] if stages else None
        begun = stage is not None and stage.tap is None
        if type(module) not in UNDERSTOOD:
            raise _not_understood(name, module)
        if isinstance(module, nn.Linear | nn.Conv2d) and not begun:
            refuse_grouped(name, module)
            stages.append(_Stage(module, module))
        elif isinstance(module, (nn.Flatten, *OVER_UNITS)) and stage is None:
            continue  # it flattens or normalises the observation
        elif isinstance(module, PASSING):
            if begun:
                stages[-1] = replace(stages[-1], preactivation=module)
        elif stage is None:
            raise _not_understood(name, module)
        elif (
            isinstance(module, NORMS)
            and not stage.flattened
            and normalizes(module, len(stage.producer.weight), of_map=isinstance(stage.producer, nn.Conv2d))
        ):
            exact = stage.exact and not isinstance(module, MIXING)
            stage = replace(stage, norms=(*stage.norms, module), exact=exact)
            stages[-1] = replace(stage, preactivation=module) if begun else replace(stage, tap=module)
        elif isinstance(module, ACTIVATIONS) and begun:
            stages[-1] = replace(stage, tap=module, fold=fold_of(module))
        elif isinstance(module, POOLINGS) and not begun and not stage.flattened:
            stages[-1] = replace(stage, tap=module)
        elif isinstance(module, nn.Flatten) and not begun and module.start_dim == 1 and module.end_dim == -1:
            stages[-1] = replace(stage, flattened=True)
        else:
            raise _not_understood(name, module)
    return stages


def _refuse_reused(name: str, modules: Sequence[nn.Module]) -> None:
    for i, module in enumerate(modules):
        if module in modules[:i]:
            raise ValueError(f"{name}: {module} stands in two places; give each place a module of its own")


def refuse_changed(name: str, module: nn.Module) -> None:
    """Refuse a module that does not compute what its class says, with the parameters that it says.

    Raises:
        ValueError: it does not.
    """
    if getattr(module, "_orig_mod", None) is not None:
        raise ValueError(
            f"{name}: it is a handle of torch.compile, behind which units cannot be followed here; compile the module "
            "in place, by its own compile()"
        )
    if "forward" in vars(module):
        raise ValueError(
            f"{name}: the forward of {title(module)} was replaced, which is not understood; leave it as it was"
        )
    computed = type(module) in PRODUCERS and not isinstance(module.weight, nn.Parameter)
    if computed or parametrize.is_parametrized(module):
        raise ValueError(
            f"{name}: the weight of {title(module)} is computed from other parameters, which is not understood; "
            "remove its weight_norm or spectral_norm"
        )


def refuse_grouped(name: str, module: nn.Module) -> None:
    """Refuse a convolution whose weights do not read all channels.

    Raises:
        ValueError: it is one.
    """
    if isinstance(module, nn.Conv2d) and module.groups != 1:
        raise ValueError(f"{name}: the grouped convolution {module} is not understood; use groups=1")


def _not_understood(name: str, module: nn.Module) -> ValueError:
    return ValueError(
        f"{name}: {title(module)} is not understood at this place; resets know Linear or Conv2d layers, each followed "
        f"by one of {', '.join(kind.__name__ for kind in ACTIVATIONS)}, with a normalisation before or behind it"
    )


def normalizes(norm: nn.Module, units: int, *, of_map: bool) -> bool:
    """Whether the norm's parameters have one row per unit.

    Args:
        norm: one of `NORMS`.
        units: how many there are.
        of_map: they are the channels of a map.
    """
    if isinstance(norm, OVER_UNITS):
        # Over (units,), or over all of (channels, height, width): shapes that begin with the units.
        return len(norm.normalized_shape) == (3 if of_map else 1) and norm.normalized_shape[0] == units
    if isinstance(norm, nn.GroupNorm):
        return norm.num_channels == units
    return isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.num_features == units


def norm_constants(norms: Iterable[nn.Module]) -> Iterator[tuple[Tensor, float]]:
    """What a normalisation holds of each unit, and the value it starts from."""
    for norm in norms:
        for key, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            tensor = getattr(norm, key, None)
            if tensor is not None:
                yield tensor, value


def _consumer(name: str, stage: _Stage, reader: Producer, start: int, *, alone: bool) -> Consumer:
    """How `reader` sees the units; `alone`: they are all that it sees."""
    units, inputs = len(stage.producer.weight), reader.weight.shape[1]
    refuse_grouped(name, reader)
    map_in = isinstance(stage.producer, nn.Conv2d) and not stage.flattened
    if map_in != isinstance(reader, nn.Conv2d):
        raise ValueError(
            f"{name}: {reader} cannot read {stage.producer} as it is; put a Flatten between a convolution and a linear "
            "layer, and none between two convolutions"
        )
    block = 1
    if stage.flattened and isinstance(stage.producer, nn.Conv2d):
        if not alone or inputs % (units * stage.fold):
            raise ValueError(f"{name}: {reader} must read the flattened convolution and nothing else")
        block = inputs // (units * stage.fold)
    width = units * block * stage.fold
    if start + width > inputs or (alone and width != inputs):
        values = f" of {stage.fold} values each" if stage.fold > 1 else ""
        raise ValueError(
            f"{name}: {reader} has {inputs} inputs and cannot read {units} units{values} from column {start} on"
        )
    return Consumer(reader.weight, reader.bias, start, block, fold=stage.fold)
