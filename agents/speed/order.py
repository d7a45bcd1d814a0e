"""In which order dense layers of float32 add up on this machine, and boards that are read in it: the same bits.

A product by 0 or 1 is exact, and a zero changes no sum: of a dense layer on boards only the order remains in which it
adds the weights of set cells, and how many sums it makes at a time. oneDNN's convolutions, and the matrix products of
MKL, add in memory's order, these in stretches; which ones depends on the CPU. So what compiled loops give is compared
with what torch gives, to the last bit, at weights drawn at random, before it takes its place: where an order is another
one, thousands of sums differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial, wraps
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from agents.speed import sparse
from agents.speed.boards import LAYERS, OWN, Boards, kernels
from agents.speed.kept import are_kept
from agents.speed.sparse import LANES, WHOLE, Stretches
from agents.speed.threads import threads

STRETCHES = (WHOLE.inputs, 128, 192, 256, 320, 336, 384, 448, 512)
"""Inputs, or boards, that matrix products are known to sum up at a time."""
SHARES = (1 / 30, 1 / 100)
"""Of the cells that are set in what is compared."""
DRAWS, CELLS = 8, 2**15
"""Boards are drawn so often at most: until so many cells have been compared, as few say little of an order."""
SHAPES = 64
"""Of which it is found out, which takes some milliseconds each."""
LEAST = 256
"""Boards from which a linear layer pays that adds up so; where transposed weights are kept any do."""
LARGEST = 2**13
"""Boards of the largest batch that is compared, for which it is made once."""


class Same(NamedTuple):
    """Whether a layer's outputs, and its gradients, are torch's to the last bit."""

    forward: bool
    backward: bool


Found = TypeVar("Found")


def linear(boards: Any, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    """`torch.nn.functional.linear` to the last bit; None where that is not known to be, or not quicker."""
    if not _may(boards, weight, bias) or boards.dim() != 2 or not (boards.shape[0] >= LEAST or are_kept()):
        return None
    stretches = _stretches(boards.shape[0], *weight.shape, _settings())
    if stretches is None or (stretches.boards is None and torch.is_grad_enabled()):
        return None
    return sparse.linear(boards, weight, bias, stretches)


def convolution(
    boards: Any, weight: Tensor, bias: Tensor | None = None, *how: Any, relu: bool = False, **named: Any
) -> Tensor | None:
    """`torch.nn.functional.conv2d`, where asked for with a ReLU behind it, to the last bit; None as for `linear`."""
    if not _may(boards, weight, bias) or boards.dim() != 4 or not sparse.is_plain(how, named):
        return None
    bits = boards.bits
    fits = 1 < bits.shape[1] == weight.shape[1] and min(sparse.sides(bits, weight)) > 0 and sparse.are_last(bits)
    follows = _follows(tuple(bits.shape), tuple(weight.shape), _settings()) if fits else None
    if follows is None or not follows.forward or (torch.is_grad_enabled() and not follows.backward):
        return None
    return sparse.convolution(boards, weight, bias, relu=relu)


LAYERS.update({F.linear: linear, F.conv2d: convolution})
OWN.update({sparse.rectified: partial(convolution, relu=True), sparse.features: lambda *_: None})


def _may(boards: Any, weight: Any, bias: Any) -> bool:
    """Whether it is boards that are read, by plain numbers, in a layer that loops could compute."""
    if not isinstance(boards, Boards) or bias is None or weight.shape[0] % LANES or kernels() is None:
        return False
    if not 0 < boards.shape[0] <= LARGEST:
        return False
    if torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu") or not weight.is_contiguous():
        return False
    if not all(type(each) in (Tensor, torch.nn.Parameter) for each in (weight, bias)):
        return False
    plain = all(each.is_cpu and each.dtype is torch.float32 for each in (weight, bias))
    return plain and not torch.is_inference_mode_enabled()


def _settings() -> tuple[Any, ...]:
    """What decides beside shapes how torch computes, and into how many shares loops deal their work."""
    return torch.get_num_threads(), threads(), torch._C._get_mkldnn_enabled(), *map(_precision, ("matmul", "conv"))


def _precision(kind: str) -> str:
    """Of products of float32; torch refuses to tell of those of matrices by its old name where a newer one is set."""
    of_kind = getattr(torch.backends.mkldnn, kind, None)
    found: str = getattr(of_kind, "fp32_precision", None) or torch.get_float32_matmul_precision()
    return found


def _of_few_shapes(compare: Callable[..., Found | None]) -> Callable[..., Found | None]:
    """Compare once for all arguments; of more than `SHAPES` None is known, as of batches of ever other sizes."""
    known: dict[Any, Found | None] = {}

    @wraps(compare)
    def found(*key: Any) -> Found | None:
        if key not in known:
            if len(known) >= SHAPES:
                return None
            known[key] = compare(*key)
        return known[key]

    return found


@_of_few_shapes
def _stretches(boards: int, outputs: int, inputs: int, settings: Any) -> Stretches | None:
    """Those with which a linear layer's sums are torch's; None where those of its outputs are with none."""
    found: dict[str, int] = {}
    for stretch in STRETCHES:
        both = Stretches(found.get("inputs", stretch), found.get("boards", stretch))
        same = _same((boards, inputs), (outputs, inputs), F.linear, partial(sparse.linear, stretches=both))
        for name, is_same in zip(both._fields, same, strict=True):
            if is_same:
                found.setdefault(name, stretch)
        if len(found) == 2:
            break
    return Stretches(found["inputs"], found.get("boards")) if "inputs" in found else None


@_of_few_shapes
def _follows(boards: tuple[int, ...], weight: tuple[int, ...], settings: Any) -> Same:
    """Whether a convolution's sums are torch's."""
    return _same(boards, weight, F.conv2d, sparse.convolution)


def _same(
    shape: Sequence[int], weight: Sequence[int], dense: Callable[..., Tensor], loops: Callable[..., Tensor | None]
) -> Same:
    """Whether two layers give the same bits forward and backward, on boards with channels last in memory."""
    same, draws = [True, True], 0
    cpu = torch.device("cpu")  # also where others are the default
    for number in range(len(SHARES) * min(max(CELLS // math.prod(shape), 1), DRAWS)):
        generator = torch.Generator(cpu).manual_seed(number)
        drawn = torch.rand(shape[0], *shape[2:], shape[1], generator=generator, device=cpu)
        bits = (drawn < SHARES[number % len(SHARES)]).movedim(-1, 1)
        given = [torch.randn(size, generator=generator, device=cpu) * 0.1 for size in (weight, weight[:1])]
        at_out: Tensor | None = None
        bits_of: list[list[Tensor]] = []
        with torch.enable_grad():
            for layer, read in ((loops, bits.as_subclass(Boards)), (dense, bits.view(torch.uint8).float())):
                parameters = [each.clone().requires_grad_() for each in given]
                out = Context().run(layer, read, *parameters)  # in which nothing is kept
                if out is None:  # too many are set, by chance
                    break
                if at_out is None:
                    at_out = torch.randn(out.shape, generator=generator, device=cpu)
                    at_out = at_out if number % 2 else at_out.relu_()
                # Of a sum: gradients given to torch, which it checks the shapes of, load its compiler.
                found = [out.detach(), *torch.autograd.grad((out * at_out).sum(), parameters)]
                bits_of.append([each.contiguous().view(torch.int32) for each in found])
        if len(bits_of) == 2:
            draws += 1
            equal = [torch.equal(one, other) for one, other in zip(*bits_of, strict=True)]
            same = [same[0] and equal[0], same[1] and all(equal[1:])]
    return Same(*same) if draws else Same(False, False)
