"""Learners with a closed loop, and what ails them."""

from __future__ import annotations

from typing import Any

import torch
from small_loop import Regression

from agents.plasticity import Auto

OFTEN: dict[str, Any] = {"period": 8, "budget": 1e6, "steps": 10}


def saturate(model: Any) -> None:
    with torch.no_grad():
        model.policy.action_net.bias += torch.tensor([60.0, 0.0, 0.0])


def silence(learner: Regression, units: int) -> None:
    with torch.no_grad():
        learner.module[0].bias[:units] = -100.0


def own(auto: Auto, rate: float = 1e-2) -> Regression:
    return Regression([auto], batch_size=16, rate=rate)
