"""Boards of zeros and ones that stand for floats until a first layer reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

DENSE = 16
"""Where one cell of so many is set dense layers are as fast: measured at 4,096 to 2^20 cells, on one core."""
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
UNCOUNTED = frozenset({Tensor.numpy, Tensor.__array__, vars(torch._C.TensorBase)["data"].__get__})
"""What gives memory to be written to without torch's counting it: so it counts as written to."""
LAYERS: dict[Callable[..., Any], Callable[..., Tensor | None]] = {}
"""Layer of torch's -> what computes it on boards to the last bit, or gives None where nothing does."""
OWN: dict[Callable[..., Any], Callable[..., Tensor | None]] = {}
"""The same for layers of `agents.speed`, which may give None."""
LISTED = "_agents_set_cells"
"""Attribute of a plain tensor, see `listed`."""


class Cells(NamedTuple):
    """The set cells of boards, as `agents.speed.kernels.find` writes them."""

    cells: np.ndarray
    starts: np.ndarray


class Boards(Tensor):
    """A bool tensor, (boards, ...), in place of the floats 0 and 1 that networks take; whoever else asks gets these.

    `torch.Tensor.float` of observations costs as much as the layer that reads them; here it waits, and layers that know
    of it look at the set cells alone (see `agents.speed.sparse`).
    """

    _cells: tuple[Tensor, Cells | None]
    _made: Tensor
    _view: tuple[Boards, Callable[[Tensor], Tensor]]

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in STAYS_BOARDS and args and isinstance(args[0], Boards) and not args[0].is_changed:
            if func is Tensor.float:
                return args[0]
            found = super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]
            if isinstance(found, Boards) and found is not args[0]:
                found._remember(args[0], lambda floats: func(floats, *args[1:], **kwargs or {}))
            return found
        if func == _DTYPE:
            return torch.float32
        with torch._C.DisableTorchFunctionSubclass():
            if func in UNCOUNTED:
                with torch.no_grad():
                    args[0].floats().mul_(1)
            if func in OWN:
                return OWN[func](*args)
            if args and func in LAYERS and (found := LAYERS[func](*args, **kwargs or {})) is not None:
                return found
            return func(*_floats(args), **_floats(kwargs or {}))

    @classmethod
    def of(cls, bits: Tensor) -> Boards:
        """Plain bools as boards, with the set cells that `listed` has told of them if nobody has written since."""
        boards = bits.as_subclass(Boards)
        told: tuple[int, Cells] | None = bits.__dict__.get(LISTED)
        if told is not None and told[0] == bits._version:
            boards.__dict__["_cells"] = bits, told[1]
        return boards

    @property
    def bits(self) -> Tensor:
        """As a plain tensor of bools."""
        return self.as_subclass(Tensor)

    def floats(self) -> Tensor:
        """What they stand for: always the same tensor, so that what one writes to it the next one finds."""
        with torch._C.DisableTorchFunctionSubclass():
            made: Tensor | None = self.__dict__.get("_made")
            if made is None:
                if "_view" in self.__dict__:
                    other, viewed = self._view
                    made = viewed(other.floats())
                else:  # from bytes, of which torch makes floats ten times as fast
                    made = self.bits.view(torch.uint8).to(torch.float32)
                self.__dict__["_made"] = made
            return made

    def _remember(self, other: Boards, viewed: Callable[[Tensor], Tensor]) -> None:
        """That these are a view of others, where they are no copy: what one writes to either is found in both."""
        with torch._C.DisableTorchFunctionSubclass():
            if self.data_ptr() == other.data_ptr():
                self.__dict__["_view"] = other, viewed

    @property
    def is_changed(self) -> bool:
        """Whether the floats were written to, or shall have gradients: the bits do not tell all then."""
        made: Tensor | None = self.__dict__.get("_made")
        if made is not None and (made.is_inference() or made._version > 0 or made.requires_grad):
            return True
        return "_view" in self.__dict__ and self._view[0].is_changed

    def set_cells(self, flat: Tensor) -> Cells | None:
        """The set cells in the order of `flat`, looked for once for all layers that read these boards; None of many."""
        known = self._known()
        if known is not None and _is_same_memory(known[0], flat):
            return known[1]
        found = cells_of(flat.reshape(len(flat), -1).view(torch.uint8).numpy())
        self.__dict__["_cells"] = flat, found
        return found

    def _known(self) -> tuple[Tensor, Cells | None] | None:
        """What `set_cells` has found of these boards, or of those that they are a view of, and in which order."""
        if "_cells" in self.__dict__:
            return self._cells
        return self._view[0]._known() if "_view" in self.__dict__ else None


def cells_of(rows: np.ndarray) -> Cells | None:
    """The set cells of bytes (boards, cells), contiguous; None of many, and where nothing is compiled."""
    compiled = kernels()
    if compiled is None:
        return None
    cells = np.empty(max(rows.size // DENSE, rows.shape[1]), np.int32)
    starts = np.empty(len(rows) + 1, np.int64)
    count = compiled.find(rows, cells, starts)
    return None if count < 0 or DENSE * count > rows.size else Cells(cells, starts)


def listed(bits: Tensor, cells: Cells) -> Tensor:
    """Bools, contiguous, whose set cells in memory's order are told to whoever reads them as `Boards`."""
    bits.__dict__[LISTED] = bits._version, cells
    return bits


def _is_same_memory(flat: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same boards, with their cells in the same order."""
    if flat.data_ptr() != other.data_ptr() or flat.numel() != other.numel() or len(flat) != len(other):
        return False
    return flat.stride() == other.stride() or (flat.is_contiguous() and other.is_contiguous())


def _floats(value: Any) -> Any:
    if isinstance(value, Boards):
        return value.floats()
    if isinstance(value, Mapping):
        return {key: _floats(held) for key, held in value.items()}
    return type(value)(_floats(held) for held in value) if isinstance(value, list | tuple) else value


@cache
def kernels() -> Any:
    """The compiled loops; None where numba cannot be imported."""
    try:
        from agents.speed import kernels as found
    except ImportError:  # also raised where numba is too old for the installed numpy
        return None
    return found
