"""Boards of zeros and ones that stand for floats until a first layer reads them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function

DENSE = 16
"""Where one cell of so many is set dense layers are as fast: measured at 4,096 to 2^20 cells, on one core."""
LANES = 16
"""Units or filters that the kernels take at once."""
_GETTERS = [vars(torch._C.TensorBase)[name].__get__ for name in ("shape", "ndim", "device", "requires_grad")]
_DTYPE = vars(torch._C.TensorBase)["dtype"].__get__
STAYS_BOARDS = frozenset(
    {
        torch.flatten, Tensor.flatten, torch.permute, Tensor.permute, torch.reshape, Tensor.reshape, Tensor.view,
        torch.transpose, Tensor.transpose, Tensor.contiguous, Tensor.float, Tensor.size, Tensor.dim, Tensor.__len__,
        Tensor.is_contiguous, Tensor.stride, Tensor.numel, Tensor.data_ptr, *_GETTERS,
    }
)  # fmt: skip
"""What is done to the bits as it would be to the floats."""


class Cells(NamedTuple):
    """The set cells of boards, as `agents.speed.kernels.find` writes them."""

    cells: np.ndarray
    starts: np.ndarray


class Boards(Tensor):
    """A bool tensor, (boards, ...), in place of the floats 0 and 1 that networks take; whoever else asks gets these.

    `torch.Tensor.float` of observations costs as much as the layer that reads them; here it waits, and layers that know
    of it look at the set cells alone (see `linear` and `convolution`).
    """

    _cells: tuple[Tensor, Cells | None]
    _made: Tensor

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in STAYS_BOARDS and args and isinstance(args[0], Boards) and not args[0].is_changed:
            if func is Tensor.float:
                return args[0]
            return super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]
        if func == _DTYPE:
            return torch.float32
        with torch._C.DisableTorchFunctionSubclass():
            return func(*_floats(args), **_floats(kwargs or {}))

    @property
    def bits(self) -> Tensor:
        """As a plain tensor of bools."""
        return self.as_subclass(Tensor)

    def floats(self) -> Tensor:
        """What they stand for: always the same tensor, so that what one writes to it the next one finds."""
        with torch._C.DisableTorchFunctionSubclass():
            made: Tensor | None = self.__dict__.get("_made")
            if made is None:
                made = self.__dict__["_made"] = self.bits.to(torch.float32)
            return made

    @property
    def is_changed(self) -> bool:
        """Whether the floats were written to, or shall have gradients: the bits do not tell all then."""
        made: Tensor | None = self.__dict__.get("_made")
        return made is not None and (made.is_inference() or made._version > 0 or made.requires_grad)


def _floats(value: Any) -> Any:
    if isinstance(value, Boards):
        return value.floats()
    if isinstance(value, Mapping):
        return {key: _floats(held) for key, held in value.items()}
    return type(value)(_floats(held) for held in value) if isinstance(value, list | tuple) else value


@cache
def kernels() -> Any:
    """The compiled loops; None, after a warning, where numba cannot be imported."""
    try:
        from agents.speed import kernels as found
    except ImportError as error:  # also raised where numba is too old for the installed numpy
        warnings.warn(
            f"numba cannot be imported ({error}), so that speed 'fast' multiplies by the zeros of boards, too; pip "
            "install numba",
            stacklevel=2,
        )
        return None
    return found


def linear(boards: Boards, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """A linear layer on (boards, size); None where dense ones are as fast."""
    with torch._C.DisableTorchFunctionSubclass():
        bits = boards.bits
        if bits.dim() != 2 or not bits.is_contiguous() or not _suits(boards, weight, bias):
            return None
        found = _found(boards, bits)
        if found is None:
            return None
        out: Tensor = _Linear.apply(weight, _or_zeros(bias, weight), found)  # type: ignore[no-untyped-call]
        return out


def convolution(boards: Boards, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """A convolution of stride 1 without padding, on (boards, channels, rows, columns); None as for `linear`."""
    with torch._C.DisableTorchFunctionSubclass():
        found = _looked_at(boards, weight, bias)
        if found is None:
            return None
        given = weight, _or_zeros(bias, weight), *found
        out: Tensor = _Convolution.apply(*given)  # type: ignore[no-untyped-call]
        return out


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
        if found is None or math.prod(_sides(found[2], weight)) % LANES:
            return None
        out: Tensor = _Features.apply(  # type: ignore[no-untyped-call]
            weight, bias.contiguous(), linear_weight, linear_bias, *found
        )
        return out


def _looked_at(boards: Boards, weight: Tensor, bias: Tensor | None) -> tuple[Cells, np.ndarray, Tensor] | None:
    """The set cells of (boards, channels, rows, columns), where those are, and the boards; None as for `linear`."""
    bits = boards.bits
    if bits.dim() != 4 or not _suits(boards, weight, bias):
        return None
    last = bits.permute(0, 2, 3, 1)
    flat, order = (last, "last") if last.is_contiguous() else (bits.contiguous(), "first")  # MinAtar's games: last
    found = _found(boards, flat)
    return None if found is None else (found, _places(order, *bits.shape[1:]), bits)


def _sides(bits: Tensor, weight: Tensor) -> list[int]:
    """Rows and columns of a convolution's maps."""
    return [size - kernel + 1 for size, kernel in zip(bits.shape[2:], weight.shape[2:], strict=True)]


def _or_zeros(bias: Tensor | None, weight: Tensor) -> Tensor:
    return weight.new_zeros(len(weight)) if bias is None else bias.contiguous()


def _suits(boards: Boards, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the kernels can: on CPUs, units or filters by sixteens, of which these have all that they look at."""
    bits, parameters = boards.bits, [weight] if bias is None else [weight, bias]
    plain = all(each.dtype == torch.float32 and each.device.type == "cpu" for each in parameters)
    if boards.is_changed or not plain or bits.device.type != "cpu" or bits.numel() == 0 or len(weight) % LANES:
        return False
    sides = zip(bits.shape[2:], weight.shape[2:], strict=False)
    same = bits.dim() == weight.dim() and bits.shape[1] == weight.shape[1]
    return same and all(side >= kernel for side, kernel in sides) and (bias is None or bias.shape == weight.shape[:1])


def _found(boards: Boards, flat: Tensor) -> Cells | None:
    """The set cells in the order of `flat`, looked for once for all layers that read these boards; None of many."""
    known: tuple[Tensor, Cells | None] | None = boards.__dict__.get("_cells")
    if known is not None and known[0].data_ptr() == flat.data_ptr() and known[0].stride() == flat.stride():
        return known[1]
    compiled, found = kernels(), None
    if compiled is not None:
        rows = flat.reshape(len(flat), -1).view(torch.uint8).numpy()
        cells = np.empty(max(rows.size // DENSE, rows.shape[1]), np.int32)
        starts = np.empty(len(rows) + 1, np.int64)
        count = compiled.find(rows, cells, starts)
        found = None if count < 0 or DENSE * count > rows.size else Cells(cells, starts)
    boards.__dict__["_cells"] = flat, found
    return found


@cache
def _places(order: str, channels: int, rows: int, columns: int) -> np.ndarray:
    """Of each cell of a board, in memory's order, its row, column and channel."""
    shape = (rows, columns, channels) if order == "last" else (channels, rows, columns)
    axes = np.indices(shape).reshape(3, -1)
    return np.ascontiguousarray((axes if order == "last" else axes[[1, 2, 0]]).T)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, found: Cells) -> Tensor:
        out = weight.new_empty(len(found.starts) - 1, len(weight))
        transposed = weight.t().contiguous()
        kernels().linear(
            found.cells, found.starts, transposed.numpy().ravel(), bias.detach().numpy(), out.numpy().ravel()
        )
        ctx.found, ctx.shape = found, transposed.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        found, of_weight = ctx.found, gradient.new_zeros(ctx.shape)
        kernels().linear_gradient(
            found.cells, found.starts, gradient.contiguous().numpy().ravel(), of_weight.numpy().ravel(), ctx.shape[1]
        )
        return of_weight.t(), gradient.sum(0), None


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, found: Cells, places: np.ndarray, bits: Tensor) -> Tensor:
        out = weight.new_empty(len(bits), len(weight), *_sides(bits, weight))
        ctx.found, ctx.places, ctx.kernel = found, places, tuple(weight.shape[2:])
        given = weight.permute(1, 2, 3, 0).flip(2).contiguous()
        kernels().convolution(
            found.cells, found.starts, places, given.numpy().ravel(), bias.detach().numpy(), ctx.kernel, out.numpy()
        )
        ctx.shape = given.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        found, of_weight = ctx.found, gradient.new_zeros(ctx.shape)
        kernels().convolution_gradient(
            found.cells, found.starts, ctx.places, gradient.contiguous().numpy(), ctx.kernel, of_weight.numpy().ravel()
        )
        return of_weight.flip(2).permute(3, 0, 1, 2), gradient.sum((0, 2, 3)), None, None, None


class _Features(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, bias: Tensor, linear_weight: Tensor, linear_bias: Tensor, found: Cells,
        places: np.ndarray, bits: Tensor,
    ) -> Tensor:  # fmt: skip
        ctx.found, ctx.places, ctx.kernel = found, places, tuple(weight.shape[2:])
        given = weight.permute(1, 2, 3, 0).flip(2).contiguous()
        maps = weight.new_empty(len(bits), len(weight), *_sides(bits, weight), dtype=torch.int16)
        kernels().rectified(
            found.cells, found.starts, places, given.numpy().ravel(), bias.detach().numpy(), ctx.kernel, maps.numpy()
        )
        half = linear_weight.to(torch.bfloat16)
        ctx.shape, ctx.maps = given.shape, maps
        ctx.save_for_backward(half)
        return F.linear(maps.view(torch.bfloat16).flatten(1), half).float().add_(linear_bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), found, maps = ctx.saved_tensors, ctx.found, ctx.maps
        half = gradient.to(torch.bfloat16)
        of_linear = (half.t() @ maps.view(torch.bfloat16).flatten(1)).float()
        of_maps = (half @ weight).view(torch.int16)
        of_weight, of_bias = gradient.new_zeros(ctx.shape), gradient.new_zeros(maps.shape[1])
        kernels().rectified_gradient(
            found.cells, found.starts, ctx.places, of_maps.numpy(), maps.numpy(), ctx.kernel,
            of_weight.numpy().ravel(), of_bias.numpy(),
        )  # fmt: skip
        return of_weight.flip(2).permute(3, 0, 1, 2), of_bias, of_linear, gradient.sum(0), None, None, None
