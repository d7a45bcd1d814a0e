"""What a network is asked to learn in a fit probe: changes of outputs, and pay for actions, that it has not seen."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.plasticity.outputs import Form

ROUNDED = 32
"""Times the precision of a number: less of a difference between outputs is rounding."""
PAID = ("logits", "bits", "gaussian", "actions")
"""Kinds of outputs that are policies which can saturate."""


def columns(form: Form, outputs: Tensor) -> Tensor:
    """The outputs without what follows behind all parts: log standard deviations."""
    return outputs[:, : sum(form.sizes)] if form.sizes else outputs


def unseen(outputs: Tensor) -> Tensor:
    """Outputs of another network, (batch, columns), each column with mean 0 and mean square 1 over the batch.

    0 where a column says the same of all, but for rounding.
    """
    centred = outputs - outputs.mean(0)
    size = centred.square().mean(0).sqrt()
    rounding = ROUNDED * torch.finfo(outputs.dtype).eps * outputs.abs().mean(0)
    return torch.where(size > rounding, centred / size, 0)


def fit_error(outputs: Tensor, begun: Tensor, new: Tensor) -> Tensor:
    """The mean square of what lies between the change of outputs and the one that is wanted.

    Of changes, for beside outputs that have grown without bound what is wanted would be lost to rounding.

    Args:
        outputs: (batch, columns).
        begun: what they were at first.
        new: by how much they are to change.
    """
    return (outputs - begun - new).square().mean()


def regret(form: Form, outputs: Tensor, pay: Tensor) -> Tensor:
    """What a policy earns less than the best one, the mean over a batch of states: a bandit's regret, 0 at best.

    Its slope is the policy gradient with all actions' pay known, and so without noise: that of -sum_a p_a pay_a by the
    logit of a is p_a (earned - pay_a), which vanishes where p is 0 or 1. Of ``logits`` each choice has its pay, and
    parts are added; a bit pays its pay where it is set, and as much below nothing where it is not; an action
    a = tanh(x) pays a * pay.

    Args:
        form: what the outputs are, of a kind in `PAID`.
        outputs: (batch, columns).
        pay: of the same shape.
    """
    if form.kind == "logits":
        parts = zip(outputs.split(form.sizes, 1), pay.split(form.sizes, 1), strict=True)
        lost = [of_each.amax(1) - (x.softmax(1) * of_each).sum(1) for x, of_each in parts]
        return torch.stack(lost).sum(0).mean()
    x = outputs / 2 if form.kind == "bits" else outputs  # 2 sigmoid(x) - 1 is tanh(x / 2)
    return (pay.abs() - pay * x.tanh()).sum(1).mean()
