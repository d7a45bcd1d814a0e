"""First layers on boards of zeros and ones, by the cells that are set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function

from agents.speed.boards import Boards, Cells, kernels
from agents.speed.kept import made_of
from agents.speed.sharing import at_once, shares
from agents.speed.threads import all_threads

LANES = 16
"""Units or filters that the kernels take at once."""
SHARED = 512
"""Boards from which threads are woken for shares of them where they are convolved."""
FEW = 4096
"""The same for linear layers: 64 units of 1,024 boards take 0.24 ms, and half of them, with waking, 0.34."""


class Stretches(NamedTuple):
    """What a linear layer sums up by itself before it is added.

    Attributes:
        inputs: so many in a row, forward.
        boards: so many in a row, for the gradient of the weights; None where there is none, as without a graph.
    """

    inputs: int
    boards: int | None


WHOLE = Stretches(2**31, 2**31)


def linear(boards: Boards, weight: Tensor, bias: Tensor | None, stretches: Stretches = WHOLE) -> Tensor | None:
    """A linear layer on (boards, size); None where dense ones are as fast."""
    with torch._C.DisableTorchFunctionSubclass():
        bits = boards.bits
        if bits.dim() != 2 or not bits.is_contiguous() or not _suits(boards, weight, bias):
            return None
        found = boards.set_cells(bits)
        if found is None:
            return None
        added = _or_zeros(bias, weight)
        if not torch.is_grad_enabled():
            return _sums(weight, added, found, stretches)
        out: Tensor = _Linear.apply(weight, added, bits, found, stretches)  # type: ignore[no-untyped-call]
        return out


def convolution(boards: Boards, weight: Tensor, bias: Tensor | None, *, relu: bool = False) -> Tensor | None:
    """A convolution of stride 1 without padding, on (boards, channels, rows, columns); None as for `linear`.

    Args:
        boards: what it reads.
        weight: (filters, channels, rows, columns).
        bias: (filters,), or None.
        relu: whether a ReLU is behind it; None is returned where it has to be computed by itself.
    """
    with torch._C.DisableTorchFunctionSubclass():
        found = _looked_at(boards, weight, bias)
        if found is None or (relu and math.prod(sides(found[2], weight)) % LANES):
            return None
        given = weight, _or_zeros(bias, weight), *found, relu
        if not torch.is_grad_enabled():
            return _maps(*given)
        out: Tensor = _Convolution.apply(*given)  # type: ignore[no-untyped-call]
        return out


def rectified(boards: Boards, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """A convolution as `convolution` with a ReLU behind it; None where these have to be computed by themselves."""
    if has_torch_function((boards,)):  # as of `features`; to the last bit where it does not
        answer: Tensor | None = handle_torch_function(rectified, (boards,), boards, weight, bias)
        return answer
    return None


def features(boards: Boards, weight: Tensor, bias: Tensor, linear_weight: Tensor, linear_bias: Tensor) -> Tensor | None:
    """A convolution as `convolution`, ReLU, and a linear layer over its maps; those are bfloat16, and so are products.

    Returns:
        (boards, units), float32; None where its layers have to be computed by themselves.
    """
    if has_torch_function((boards,)):  # `agents.speed.layers.Quick` decides whether it is; without that it never is
        answer: Tensor | None = handle_torch_function(
            features, (boards,), boards, weight, bias, linear_weight, linear_bias
        )
        return answer
    return None


def half_features(
    boards: Boards, weight: Tensor, bias: Tensor, linear_weight: Tensor, linear_bias: Tensor
) -> Tensor | None:
    """What `features` gives where it is to be computed so."""
    with torch._C.DisableTorchFunctionSubclass():
        found = _looked_at(boards, weight, bias)
        if found is None or math.prod(sides(found[2], weight)) % LANES:
            return None
        out: Tensor = _Features.apply(  # type: ignore[no-untyped-call]
            weight, bias.contiguous(), linear_weight, linear_bias, *found
        )
        return out


def sides(bits: Tensor, weight: Tensor) -> list[int]:
    """Rows and columns of a convolution's maps."""
    return [size - kernel + 1 for size, kernel in zip(bits.shape[2:], weight.shape[2:], strict=True)]


def is_plain(how: Sequence[Any], named: Mapping[str, Any]) -> bool:
    """Whether a convolution has a stride of 1, and neither padding, dilation nor groups."""
    given = dict(zip(("stride", "padding", "dilation", "groups"), how, strict=False)) | dict(named)
    usual = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    return all(
        all(part == usual[key] for part in (value if isinstance(value, tuple | list) else (value,)))
        for key, value in given.items()
    )


def are_last(bits: Tensor) -> bool:
    """Whether channels come last in the memory of (boards, channels, rows, columns), as in MinAtar's games."""
    return bits.permute(0, 2, 3, 1).is_contiguous()


def _looked_at(boards: Boards, weight: Tensor, bias: Tensor | None) -> tuple[Cells, np.ndarray, Tensor] | None:
    """The set cells of (boards, channels, rows, columns), where those are, and the boards; None as for `linear`."""
    bits = boards.bits
    if bits.dim() != 4 or not _suits(boards, weight, bias):
        return None
    flat, order = (bits.permute(0, 2, 3, 1), "last") if are_last(bits) else (bits.contiguous(), "first")
    found = boards.set_cells(flat)
    return None if found is None else (found, places_of(order, *bits.shape[1:]), bits)


def _or_zeros(bias: Tensor | None, weight: Tensor) -> Tensor:
    return weight.new_zeros(len(weight)) if bias is None else bias.contiguous()


def _suits(boards: Boards, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the kernels can: on CPUs, units or filters by sixteens, of which these have all that they look at.

    The weights are finite: dense layers multiply those of unset cells by 0, which of infinity is no number.
    """
    bits, parameters = boards.bits, [weight] if bias is None else [weight, bias]
    plain = all(each.dtype is torch.float32 and each.is_cpu for each in parameters)
    if boards.is_changed or not plain or not bits.is_cpu or bits.numel() == 0 or weight.shape[0] % LANES:
        return False
    both = zip(bits.shape[2:], weight.shape[2:], strict=False)
    same = bits.dim() == weight.dim() and bits.shape[1] == weight.shape[1]
    same = same and all(side >= kernel for side, kernel in both) and (bias is None or bias.shape == weight.shape[:1])
    return same and made_of(weight, are_numbers)


def _transposed(weight: Tensor) -> Tensor:
    """A contiguous copy, (units, inputs) as (inputs, units)."""
    units, inputs = weight.shape
    found = weight.new_empty(inputs, units)  # in blocks, a third of torch's time
    kernels().swap_axes(found.numpy().ravel(), 0, weight.contiguous().numpy().ravel(), 0, units, inputs)
    return found


def _turned(weight: Tensor) -> Tensor:
    """A convolution's as (channels, rows, columns, filters), the columns from the last to the first."""
    return weight.permute(1, 2, 3, 0).flip(2).contiguous()


@cache
def places_of(order: str, channels: int, rows: int, columns: int) -> np.ndarray:
    """Of each cell of a board, in memory's order, its row, column and channel."""
    shape = (rows, columns, channels) if order == "last" else (channels, rows, columns)
    axes = np.indices(shape).reshape(3, -1)
    return np.ascontiguousarray((axes if order == "last" else axes[[1, 2, 0]]).T)


def _spread(count: int, work: Callable[[slice, slice], Callable[[], object]], least: int) -> None:
    """Work on shares of so many boards, `least` from which it pays: the boards, and where their cells start."""
    calls = [work(slice(first, end), slice(first, end + 1)) for first, end in shares(count)]
    at_once(calls, pays=count >= least)


def _dense(
    compute: Callable[..., Tensor], bits: Tensor, parameters: Sequence[Tensor], at_out: Tensor
) -> list[Tensor | None]:
    """Gradients of the parameters as torch computes them: to be differentiated again, or of what is no number."""
    floats, again = bits.view(torch.uint8).to(torch.float32), torch.is_grad_enabled()
    learnt = [each for each in parameters if each.requires_grad]  # neither frozen, nor zeros in place of a bias
    with torch.enable_grad():
        out = compute(floats, *parameters)
    found = iter(torch.autograd.grad(out, learnt, at_out, create_graph=again))
    return [next(found) if each.requires_grad else None for each in parameters]


def _sums(weight: Tensor, bias: Tensor, found: Cells, stretches: Stretches) -> Tensor:
    """What a linear layer puts out, (boards, units)."""
    out = weight.new_empty(len(found.starts) - 1, weight.shape[0])
    given, added, into = made_of(weight, _transposed).numpy().ravel(), bias.detach().numpy(), out.numpy()

    def work(boards: slice, starts: slice) -> Callable[[], object]:
        outputs = into[boards].ravel()
        return partial(kernels().linear, found.cells, found.starts[starts], given, added, stretches.inputs, outputs)

    _spread(out.shape[0], work, FEW)
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, bits: Tensor, found: Cells, stretches: Stretches) -> Tensor:
        out = _sums(weight, bias, found, stretches)
        ctx.found, ctx.bits, ctx.inputs, ctx.stretch = found, bits, weight.shape[1], stretches.boards
        ctx.save_for_backward(weight, bias)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            return *_dense(F.linear, ctx.bits, ctx.saved_tensors, gradient), None, None, None
        learnt = linear_gradients(ctx.found, gradient, ctx.inputs, ctx.stretch)
        if learnt is None:
            return *_dense(F.linear, ctx.bits, ctx.saved_tensors, gradient), None, None, None
        return *learnt, None, None, None


def linear_gradients(
    found: Cells, gradient: Tensor, inputs: int, stretch: int = WHOLE.inputs
) -> tuple[Tensor, Tensor] | None:
    """Those of a linear layer's weight and bias from that of its outputs; None where it is no number everywhere.

    Args:
        found: the set cells of the boards that it has read.
        gradient: (boards, units).
        inputs: cells of a board.
        stretch: boards that are summed up by themselves.
    """
    units = gradient.shape[1]
    of_weight = gradient.new_zeros(inputs, units)
    given, into = gradient.contiguous().numpy().ravel(), of_weight.numpy().ravel()
    work = partial(kernels().linear_gradient, found.cells, found.starts, given, stretch, into, units)
    calls = [partial(work, LANES * first, LANES * end) for first, end in shares(units // LANES)]
    at_once(calls, pays=len(gradient) >= FEW)
    of_bias = gradient.sum(0)
    return (_transposed(of_weight), of_bias) if are_numbers(of_bias) else None


def _maps(weight: Tensor, bias: Tensor, found: Cells, places: np.ndarray, bits: Tensor, relu: bool) -> Tensor:
    """What a convolution puts out, (boards, filters, rows, columns)."""
    out = weight.new_empty(len(bits), len(weight), *sides(bits, weight))
    flat, added, into = made_of(weight, _turned).numpy().ravel(), bias.detach().numpy(), out.numpy()
    kernel = tuple(weight.shape[2:])

    def work(boards: slice, starts: slice) -> Callable[[], object]:
        cells = found.cells, found.starts[starts]
        return partial(kernels().convolution, *cells, places, flat, added, kernel, into[boards], relu)

    _spread(len(bits), work, SHARED)
    return out


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, bias: Tensor, found: Cells, places: np.ndarray, bits: Tensor, relu: bool
    ) -> Tensor:
        out = _maps(weight, bias, found, places, bits, relu)
        filters, channels, *kernel = weight.shape
        ctx.found, ctx.places, ctx.kernel, ctx.bits = found, places, tuple(kernel), bits
        ctx.relu, ctx.shape = relu, (channels, *kernel, filters)
        ctx.save_for_backward(weight, bias, *((out,) if relu else ()))
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, bias, *outs = ctx.saved_tensors

        def layer(floats: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            out: Tensor = F.conv2d(floats, weight, bias)
            return out.relu() if ctx.relu else out

        if torch.is_grad_enabled():
            return *_dense(layer, ctx.bits, (weight, bias), gradient), None, None, None, None
        gradient = gradient.contiguous()
        given = gradient.numpy()
        out = outs[0].numpy() if outs else given
        of_weights, of_biases = [], []

        def work(boards: slice, starts: slice) -> Callable[[], object]:
            of_weights.append(gradient.new_zeros(ctx.shape))
            of_biases.append(gradient.new_zeros(len(weight)))
            return partial(
                kernels().convolution_gradient, ctx.found.cells, ctx.found.starts[starts], ctx.places, given[boards],
                out[boards], ctx.relu, ctx.kernel, of_weights[-1].numpy().ravel(), of_biases[-1].numpy(),
            )  # fmt: skip

        _spread(len(given), work, SHARED)
        of_weight, of_bias = _sum(of_weights), _sum(of_biases)
        if not are_numbers(of_bias):
            return *_dense(layer, ctx.bits, (weight, bias), gradient), None, None, None, None
        return of_weight.flip(2).permute(3, 0, 1, 2).contiguous(), of_bias, None, None, None, None


def are_numbers(values: Tensor) -> bool:
    """Whether all are finite, on a CPU: a dense layer multiplies them by 0, which would be no number otherwise."""
    return math.isfinite(values.sum().numpy())


def _sum(parts: Sequence[Tensor]) -> Tensor:
    """Their sum, one after another."""
    total, *others = parts
    for other in others:
        total += other
    return total


class _Features(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, bias: Tensor, linear_weight: Tensor, linear_bias: Tensor, found: Cells,
        places: np.ndarray, bits: Tensor,
    ) -> Tensor:  # fmt: skip
        kernel = tuple(weight.shape[2:])
        given = made_of(weight, _turned)
        maps = weight.new_empty(len(bits), len(weight), *sides(bits, weight), dtype=torch.int16)
        flat, added, into = given.numpy().ravel(), bias.detach().numpy(), maps.numpy()

        def work(boards: slice, starts: slice) -> Callable[[], object]:
            cells = found.cells, found.starts[starts]
            return partial(kernels().rectified, *cells, places, flat, added, kernel, into[boards])

        _spread(len(bits), work, SHARED)
        half = linear_weight.to(torch.bfloat16)
        ctx.found, ctx.places, ctx.kernel, ctx.shape, ctx.maps = found, places, kernel, given.shape, maps
        ctx.save_for_backward(half)
        with all_threads():
            out = F.linear(maps.view(torch.bfloat16).flatten(1), half)
        return out.float().add_(linear_bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), found, maps = ctx.saved_tensors, ctx.found, ctx.maps
        half = gradient.to(torch.bfloat16)
        with all_threads():
            of_linear, of_maps = half.t() @ maps.view(torch.bfloat16).flatten(1), half @ weight
        given, out = of_maps.view(torch.int16).numpy(), maps.numpy()
        of_weights, of_biases = [], []

        def work(boards: slice, starts: slice) -> Callable[[], object]:
            of_weights.append(gradient.new_zeros(ctx.shape))
            of_biases.append(gradient.new_zeros(maps.shape[1]))
            return partial(
                kernels().rectified_gradient, found.cells, found.starts[starts], ctx.places, given[boards],
                out[boards], ctx.kernel, of_weights[-1].numpy().ravel(), of_biases[-1].numpy(),
            )  # fmt: skip

        _spread(len(out), work, SHARED)
        of_weight, of_bias = _sum(of_weights), _sum(of_biases)
        return of_weight.flip(2).permute(3, 0, 1, 2), of_bias, of_linear.float(), gradient.sum(0), None, None, None
