"""Optimizers whose step is one kernel over all of their parameters."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

FUSED = (torch.optim.Adam, torch.optim.AdamW)
"""Those that torch fuses, on CPUs and on CUDA; no subclass: it may do anything in its step."""
DEVICES = ("cpu", "cuda")


def fuse(optimizers: Iterable[torch.optim.Optimizer], *, fused: bool) -> None:
    """Let optimizers step in one kernel where torch can, or no longer: they go on with what they remember.

    A fused Adam rounds in another way; on a CPU its step takes a quarter to a third of the time.

    Args:
        optimizers: of any kind; those that are not `FUSED`, or were made with settings that exclude it, stay as they
            are.
        fused: whether they do; where not, they step as they were made to, also where what they have loaded was fused.
    """
    for optimizer in optimizers:
        if type(optimizer) not in FUSED:
            continue
        for group in optimizer.param_groups:
            devices = {parameter.device.type for parameter in group["params"]}
            excluded = group["differentiable"] or group["foreach"] or optimizer.defaults["fused"] is False
            if fused and devices <= {*DEVICES} and not excluded:
                group["fused"] = True
                _count_beside(group["params"], optimizer)
            elif not fused:
                group["fused"] = optimizer.defaults["fused"]


def _count_beside(parameters: Iterable[Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Have the numbers of steps where the parameters are: torch keeps those of other than fused steps on the CPU."""
    for parameter in parameters:
        state = optimizer.state.get(parameter, {})
        if "step" in state:
            state["step"] = state["step"].to(parameter.device)
