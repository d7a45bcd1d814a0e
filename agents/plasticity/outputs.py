"""What the numbers are that networks put out, and how far two such outputs are apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Kind = Literal["values", "means", "actions", "logits", "bits", "gaussian"]
LOG_STD = (-20.0, 2.0)
"""Between these SAC's log standard deviations are clipped before they are used."""


@dataclass(frozen=True)
class Form:
    """What the columns of an output are.

    Attributes:
        kind: ``values`` that stand for themselves, such as Q-values; ``means`` of actions, ``actions`` before a tanh;
            ``logits`` of a choice, ``bits``: logits of one yes or no each; ``gaussian``: means of actions before a
            tanh, then as many log standard deviations before they are clipped.
        sizes: columns of each part, the parts in order, and only the means' of a Gaussian; none where all columns are
            one part. What follows behind them (gSDE's log standard deviations) does not count.
        weight: what the loss multiplies squared errors of these outputs by.
    """

    kind: Kind = "values"
    sizes: tuple[int, ...] = ()
    weight: float = 1.0


def distance(form: Form, old: Tensor, new: Tensor) -> Tensor:
    """How far new outputs are from old ones, the mean over a batch; gradients reach the new ones.

    Of ``logits`` and ``bits`` KL(old || new), summed over parts, in double precision: in single precision it drowns in
    rounding where one gradient step is all that lies between them. Of a ``gaussian`` KL(new || old) before squashing,
    of each transition at most 100, as CHAIN has it (arXiv 2409.04792). Of all others the mean square over each part's
    columns, summed over parts. Outputs in half precision are compared in single precision, in which the squares of
    small differences are no zeros.

    Args:
        form: what they are.
        old, new: (batch, columns), of any shape where the form has no sizes.
    """
    if new.dtype in (torch.float16, torch.bfloat16):
        old, new = old.float(), new.float()
    if form.kind in ("logits", "bits"):
        pairs = _log_probabilities(form, old, new)
        parts = [F.kl_div(now, then, reduction="batchmean", log_target=True) for then, now in pairs]
        return _sum(parts).to(new.dtype)
    if form.kind == "gaussian":
        return _gaussian(sum(form.sizes), old, new).clamp(0, 100).mean()
    if form.kind == "actions":
        old, new = old.tanh(), new.tanh()
    if not form.sizes:
        return F.mse_loss(new, old)
    width = sum(form.sizes)
    if width < new.shape[1]:
        old, new = old[:, :width], new[:, :width]
    if len(form.sizes) == 1:
        return F.mse_loss(new, old)
    squares = (new - old).square().mean(0)
    return _sum([part.mean() for part in squares.split(form.sizes)])


def are_numbers(outputs: Mapping[str, Tensor]) -> bool:
    """Whether all are finite, which waits for a GPU; of others there are no losses, for distributions refuse them."""
    return all(bool(found.isfinite().all()) for found in outputs.values())


def cross_entropy(form: Form, old: Tensor, new: Tensor) -> Tensor:
    """-sum p_old log p_new of ``logits`` and ``bits``: `distance` and the entropy of the old ones together.

    Its gradient is the distance's.
    """
    parts = [-(then.exp() * now).sum(1).mean() for then, now in _log_probabilities(form, old, new)]
    return _sum(parts).to(new.dtype)


def _sum(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum()


def _log_probabilities(form: Form, old: Tensor, new: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Old and new ones of each part, (batch, choices)."""
    old, new = old.double(), new.double()
    if form.kind == "bits":
        old, new = (torch.stack([x, torch.zeros_like(x)], 2).flatten(1) for x in (old, new))
    sizes = [2] * (old.shape[1] // 2) if form.kind == "bits" else form.sizes
    pairs = zip(old.split(sizes, 1), new.split(sizes, 1), strict=True)
    return [(then.log_softmax(1), now.log_softmax(1)) for then, now in pairs]


def _gaussian(n: int, old: Tensor, new: Tensor) -> Tensor:
    """KL(new || old) of each row's n independent Gaussians, by their logarithms: no variance can under- or overflow."""
    mean, std = old[:, :n], old[:, n : 2 * n].clamp(*LOG_STD)
    log_ratio = 2 * (new[:, n : 2 * n].clamp(*LOG_STD) - std)  # of the variances
    squares = ((new[:, :n] - mean) * (-std).exp()).square()
    return 0.5 * (torch.expm1(log_ratio) - log_ratio + squares).sum(1)
