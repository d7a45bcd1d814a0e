"""Multilayer perceptrons of one shape, all at once: their forward is one operation, its backward written out.

With batches of some hundreds half of a gradient step of SAC's goes to what is around its matrix products: nodes of the
graph, threads that are woken for each operation, gradients that nobody reads, one critic after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from agents.speed import sparse
from agents.speed.activations import Activation, activation_of
from agents.speed.boards import Boards
from agents.speed.threads import threads_for

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Of a module; behind ``_global`` those of all modules."""
NARROW = 16
"""Numbers that a layer reads up to which MKL makes the transposed product in a fifth to two thirds of the time."""
Pays = Callable[[int, Tensor], bool]
"""Whether bfloat16 pays for so many multiplications with these weights."""


class OtherNetworkError(ValueError):
    """A network is another than those that are known here; the message says why, as the end of a sentence."""


class Dense(NamedTuple):
    """A linear layer, or several that read the same and whose outputs lie side by side; and what follows.

    Attributes:
        linears: the layers.
        activation: of all of their outputs; None where they are the network's.
    """

    linears: tuple[nn.Linear, ...]
    activation: Activation | None

    @property
    def shape(self) -> tuple[Any, ...]:
        """What layers agree in that are computed at once: inputs, outputs, whether there are biases, the activation."""
        sizes = [(each.in_features, each.out_features, each.bias is not None) for each in self.linears]
        return (*sizes, self.activation)

    @property
    def weights(self) -> list[Tensor]:
        """Of each, (outputs, inputs)."""
        return [each.weight for each in self.linears]

    @property
    def biases(self) -> list[Tensor]:
        """Of each, (outputs,); empty where they have none."""
        return [each.bias for each in self.linears if each.bias is not None]

    @property
    def parameters(self) -> list[Tensor]:
        """Weights, then biases."""
        return [*self.weights, *self.biases]


def dense_layers(modules: Iterable[nn.Module]) -> Iterator[Dense]:
    """Modules that are run one after the other, as layers.

    Raises:
        OtherNetworkError: they are others.
    """
    waiting: nn.Linear | None = None
    for module in modules:
        if type(module) is nn.Linear:
            if waiting is not None:
                raise OtherNetworkError("one of its linear layers follows another")
            waiting = module
        else:
            activation = activation_of(module)
            if activation is None or waiting is None:
                raise OtherNetworkError(f"its networks have a {type(module).__name__}")
            yield Dense((waiting,), activation)
            waiting = None
    if waiting is not None:
        yield Dense((waiting,), None)


def is_hooked(module: nn.Module) -> bool:
    """Whether a module is not run by its class's ``forward`` alone."""
    return any(getattr(module, hooks) for hooks in HOOKS) or "forward" in vars(module)


class Perceptrons:
    """Networks that are asked about the same inputs.

    Args:
        networks: the modules of each, in their order.
        heads: of a single network, layers behind these modules whose outputs lie side by side.
        pays: of a layer of one network.

    Raises:
        OtherNetworkError: they are none of linear layers and known activations, or their shapes differ.
    """

    def __init__(self, networks: Sequence[Iterable[nn.Module]], heads: Sequence[nn.Module] = (), *, pays: Pays) -> None:
        layers = [list(dense_layers(modules)) for modules in networks]
        if heads:
            layers[0].append(_side_by_side(heads))
        shapes = [[layer.shape for layer in network] for network in layers]
        if not shapes[0] or any(shape != shapes[0] for shape in shapes):
            raise OtherNetworkError("its networks have different shapes")
        self.layers = [tuple(same) for same in zip(*layers, strict=True)]
        self.parameters = [p for same in self.layers for each in same for p in each.parameters]
        dtypes = {parameter.dtype for parameter in self.parameters}
        if len(dtypes) > 1:
            raise OtherNetworkError("its parameters are of several dtypes")
        (self.dtype,) = dtypes
        if not all(map(fit, layers)):
            raise OtherNetworkError("its layers do not fit one another")
        self.pays = pays

    def __call__(self, x: Tensor, ahead: Tensor | None = None, *, frozen: bool = False) -> Any:
        """Outputs, (networks, batch, outputs).

        Args:
            x: (batch, inputs); a single network reads `Boards` by the cells that are set.
            ahead: as `x`; what comes of it is given beside that of `x`, and no gradients reach it.
            frozen: nor do any reach the parameters.

        No parameter may change before the backward is done: unlike torch's own operations this one does not notice.
        """
        if torch.is_grad_enabled() and (x.requires_grad or not frozen):
            return _Apply.apply(self, x, ahead, *(() if frozen else self.parameters))  # type: ignore[no-untyped-call]
        out, _ = forward(self, x if ahead is None else torch.cat([x, ahead]))
        return out if ahead is None else out.split([len(x), len(ahead)], 1)


def fit(layers: Sequence[Dense]) -> bool:
    """Whether parameters are as large as their layers say, and each layer reads what that before it gives.

    Torch refuses others in a sentence of its own; compiled loops would read and write beside their arrays.
    """
    whole = all(
        each.weight.shape == (each.out_features, each.in_features)
        and (each.bias is None or each.bias.shape == (each.out_features,))
        for layer in layers
        for each in layer.linears
    )
    given = [sum(each.out_features for each in layer.linears) for layer in layers[:-1]]
    read = [{each.in_features for each in layer.linears} for layer in layers[1:]]
    return whole and all(inputs == {outputs} for outputs, inputs in zip(given, read, strict=True))


def _side_by_side(heads: Sequence[nn.Module]) -> Dense:
    linears = [head for head in heads if type(head) is nn.Linear]
    if len(linears) < len(heads) or len({head.bias is None for head in linears}) > 1:
        raise OtherNetworkError("its output layers are no plain linear ones")
    return Dense(tuple(linears), None)


class Trace(NamedTuple):
    """What the backward of a layer needs of its forward.

    Attributes:
        x: what it reads, (batch, inputs), or of each network (networks, batch, inputs); `Boards` where by set cells.
        weight: (networks, outputs, inputs).
        before: what its activation reads, (networks, batch, outputs).
        behind: what that gives.
    """

    x: Tensor
    weight: Tensor
    before: Tensor
    behind: Tensor


@torch.no_grad()
def forward(networks: Perceptrons, x: Tensor) -> tuple[Tensor, list[Trace]]:
    """What comes out of `x`, and what `backward` needs."""
    traces = []
    for same in networks.layers:
        x, weight, before = _read(networks, same, x)
        activation = same[0].activation
        if activation is None:
            behind = before
        elif activation.kind == "ReLU":
            behind = before = torch.relu_(before)  # its backward reads what it gives alone
        else:
            before = before.to(networks.dtype)
            behind = activation(before)
        traces.append(Trace(x, weight, before, behind))
        x = behind
    return x.to(networks.dtype), traces


def _read(networks: Perceptrons, same: Sequence[Dense], x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A layer's inputs and its weight as they are multiplied, and what its activation reads: see `Trace`."""
    if isinstance(x, Boards):
        sums = _of_boards(same, x)
        if sums is not None:
            return x, same[0].weights[0].unsqueeze(0), sums.unsqueeze(0)
        x = x.floats()
    kind = torch.bfloat16 if networks.pays(x.shape[-2] * same[0].weights[0].numel(), x) else networks.dtype
    weight = _stacked([each.weights for each in same], kind)
    x, turned = x.to(kind), weight.transpose(1, 2)
    read = x.expand(len(same), -1, -1)
    bias = _stacked([each.biases for each in same], kind) if same[0].biases else None
    with threads_for(x.shape[-2] * weight.numel()):
        before = torch.bmm(read, turned) if bias is None else torch.baddbmm(bias.unsqueeze(1), read, turned)
    return x, weight, before


def _of_boards(same: Sequence[Dense], x: Boards) -> Tensor | None:
    """What a single layer gives of the cells that are set; None where all are to be multiplied."""
    if len(same) > 1 or len(same[0].linears) > 1:
        return None
    (linear,) = same[0].linears
    return sparse.linear(x, linear.weight, linear.bias)


def _stacked(parameters: Sequence[Sequence[Tensor]], dtype: torch.dtype) -> Tensor:
    """The parameters of each network, those of layers side by side as one."""
    whole = [parts[0] if len(parts) == 1 else torch.cat([*parts]) for parts in parameters]
    if len(whole) == 1:
        return whole[0].to(dtype).unsqueeze(0)
    found = whole[0].new_empty(len(whole), *whole[0].shape, dtype=dtype)
    torch._foreach_copy_([*found.unbind()], whole)
    return found


@torch.no_grad()
def backward(
    networks: Perceptrons, traces: Sequence[Trace], gradient: Tensor, *, to_parameters: bool, to_x: bool
) -> tuple[Tensor | None, list[Tensor]]:
    """The gradient of what went in, (batch, inputs), and those of the parameters in their order, where wanted.

    Args:
        networks: of which the traces are.
        traces: of their forward; where that had more rows, the first ones are those of the gradient.
        gradient: of what came out, (networks, batch, outputs).
        to_parameters: whether theirs are wanted.
        to_x: whether that of what went in is.
    """
    found: list[list[Tensor]] = []
    rows, dtype = gradient.shape[1], networks.dtype
    for number in reversed(range(len(traces))):
        same, (x, weight, before, behind) = networks.layers[number], traces[number]
        activation = same[0].activation
        if activation is not None:
            gradient = activation.backward(gradient.to(before.dtype), before[:, :rows], behind[:, :rows])
        if isinstance(x, Boards):
            if to_parameters and (learnt := _at_boards(x, gradient[0])) is not None:
                found.append(learnt[: 1 + len(same[0].biases)])
                continue
            x = x.floats()
        sums = gradient.sum(1, dtype=dtype) if to_parameters and same[0].biases else None
        gradient = gradient.to(weight.dtype)
        with threads_for(rows * weight.numel()):
            of_weight = _of_weight(gradient, x[..., :rows, :]).to(dtype) if to_parameters else None
            gradient = _of_inputs(gradient, weight) if number or to_x else gradient
        if of_weight is not None:
            parts = [of_weight] + ([] if sums is None else [sums])
            found.append(
                [piece for each in zip(*map(Tensor.unbind, parts), strict=True) for piece in _split(each, same)]
            )
    at_x = gradient.to(dtype).sum(0) if to_x else None
    return at_x, [piece for pieces in reversed(found) for piece in pieces]


def _at_boards(x: Boards, gradient: Tensor) -> list[Tensor] | None:
    """The gradients of weight and bias of a layer that `_of_boards` has computed; None where torch is to say."""
    found = x.set_cells(x.bits)
    learnt = None if found is None else sparse.linear_gradients(found, gradient, x.shape[1])
    return None if learnt is None else [*learnt]


def _split(parts: Sequence[Tensor], same: Sequence[Dense]) -> Iterator[Tensor]:
    """Gradients of the weights, and of the biases, of layers side by side."""
    sizes = [linear.out_features for linear in same[0].linears]
    for part in parts:
        yield from part.split(sizes) if len(sizes) > 1 else (part,)


def _of_weight(gradient: Tensor, x: Tensor) -> Tensor:
    """The weights' gradient, (networks, outputs, inputs)."""
    x = x.expand(len(gradient), -1, -1)
    if x.shape[2] <= NARROW:
        return torch.bmm(x.transpose(1, 2), gradient).transpose(1, 2)
    return torch.bmm(gradient.transpose(1, 2), x)


def _of_inputs(gradient: Tensor, weight: Tensor) -> Tensor:
    """The gradient of what a layer reads, (networks, batch, inputs)."""
    if weight.shape[2] <= NARROW:
        return torch.bmm(weight.transpose(1, 2), gradient.transpose(1, 2)).transpose(1, 2)
    return torch.bmm(gradient, weight)


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, networks: Perceptrons, x: Tensor, ahead: Tensor | None, *parameters: Tensor) -> Any:
        ctx.networks, ctx.learns = networks, bool(parameters)
        out, ctx.traces = forward(networks, x if ahead is None else torch.cat([x, ahead]))
        if ahead is None:
            return out.detach()  # a tensor of its own: one that is kept for its own backward, only gc would free
        now, later = out.split([len(x), len(ahead)], 1)
        ctx.mark_non_differentiable(later)
        return now, later

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        at_x, found = backward(
            ctx.networks, ctx.traces, gradient, to_parameters=ctx.learns, to_x=ctx.needs_input_grad[1]
        )
        return None, at_x, None, *found
