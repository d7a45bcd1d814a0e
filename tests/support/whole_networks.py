"""Policies and task switches for resets of whole layers and networks."""

from __future__ import annotations

from typing import Any

import torch
from policies import POLICIES, Case

from agents.plasticity import (
    Switch,
)

SWITCH = Switch("next", 1, 1)


def built(kind: str) -> Case:
    torch.manual_seed(0)
    case = POLICIES[kind]()
    case.train_step()
    return case


def switched(learner: Any) -> None:
    """A task switch is revealed, and the update ends."""
    learner.hooks.after_update([SWITCH])


def shifted(case: Case, by: float = 3.0) -> None:
    """Weights that no init would draw, targets' too."""
    with torch.no_grad():
        for parameter in case.policy.parameters():
            parameter += by
