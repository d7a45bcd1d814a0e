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
                _count_on(None, group["params"], optimizer)
            elif not fused:
                group["fused"] = optimizer.defaults["fused"]
                if not (group["fused"] or group["capturable"]):
                    _count_on(torch.device("cpu"), group["params"], optimizer)


def _count_on(device: torch.device | None, parameters: Iterable[Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Have the numbers of steps on a device; None for where each parameter is.

    Fused steps want them there. Others read them: torch keeps theirs on the CPU, as every look at a GPU waits for it.
    """
    for parameter in parameters:
        state = optimizer.state.get(parameter, {})
        if "step" in state:
            state["step"] = state["step"].to(parameter.device if device is None else device)
