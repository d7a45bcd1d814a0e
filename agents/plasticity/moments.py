"""What optimizers remember of each weight, made new where weights are.

Keys are those of ``optimizer.state[parameter]`` in `torch.optim` (all but LBFGS, which remembers no single weights),
which others use too. First moments become 0. Second moments become the mean over the tensor's unchanged entries: one of
0 would give the new weights steps of three to seven times the learning rate. Step counts and TRAC's tuners are the
tensor's and stay.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

FIRST = ("exp_avg", "momentum_buffer", "grad_avg", "max_exp_avg_sq", "prev", "utility", "offset")
SECOND = ("exp_avg_sq", "square_avg", "exp_inf", "sum", "acc_delta", "variance")
FACTORED = {"row_var": -1, "col_var": -2}  # Adafactor's: second moments of whole rows and columns -> the axis they span
SCALARS = ("step", "mu_product", "eta", "mu", "tuners")
STEP_SIZE, AVERAGE = "step_size", "ax"  # Rprop's, which begins as the learning rate; ASGD's mean of the weight itself
KNOWN = frozenset((*FIRST, *SECOND, *FACTORED, *SCALARS, STEP_SIZE, AVERAGE))


def refuse_unknown_moments(optimizers: Iterable[torch.optim.Optimizer]) -> None:
    """Refuse optimizers that remember something of their weights that cannot be made new.

    Raises:
        ValueError: there is one; the message names it.
    """
    for optimizer in optimizers:
        for state in optimizer.state.values():
            for key, value in state.items():
                single = not isinstance(value, Tensor | list | tuple | dict)
                if key not in KNOWN and not single:
                    raise ValueError(
                        f"{type(optimizer).__name__} remembers {key!r} of its weights, which resets cannot make new; "
                        "take another optimizer, such as Adam, or surgery {'moments': 'keep'}"
                    )


def remembered(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:
    """What an optimizer will remember after its first step: number of a parameter -> its state, of a copy's."""
    twin = copy.deepcopy(optimizer)
    for group in twin.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    twin.step()
    found: dict[int, dict[str, Any]] = twin.state_dict()["state"]
    return found


@torch.no_grad()
def renew_moments(optimizers: Iterable[torch.optim.Optimizer], changed: Mapping[Tensor, Tensor]) -> None:
    """Make new what optimizers remember of changed entries.

    Args:
        optimizers: whose state is changed in place; tensors that they know nothing of are passed over.
        changed: parameter -> which of its entries were changed, a bool tensor broadcastable to it.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for tensor in group["params"]:
                if tensor in changed and tensor in optimizer.state:
                    mask = changed[tensor].expand_as(tensor)
                    _renew(optimizer.state[tensor], mask, tensor, group["lr"])


def _renew(state: Mapping[str, Any], mask: Tensor, tensor: Tensor, learning_rate: float | Tensor) -> None:
    for key, moment in state.items():
        if not isinstance(moment, Tensor):
            continue
        if key in FIRST:
            moment.masked_fill_(mask, 0)
        elif key in SECOND:
            _take_mean(moment, mask)
        elif key in FACTORED:
            _take_mean(moment, mask.all(FACTORED[key], keepdim=True))
        elif key == STEP_SIZE:
            moment.copy_(torch.where(mask, learning_rate, moment))
        elif key == AVERAGE:
            moment.copy_(torch.where(mask, tensor, moment))


def _take_mean(moment: Tensor, mask: Tensor) -> None:
    """Masked entries become the mean over the others; over all, where there are no others."""
    kept = ~mask
    mean = torch.where(kept.any(), torch.where(kept, moment, 0).sum() / kept.sum(), moment.mean())
    moment.copy_(torch.where(mask, mean, moment))
